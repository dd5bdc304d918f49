#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
requirements:
  ToolTimeLimit:
    timelimit: 3
inputs: []
baseCommand: [sh, -c]
arguments:
  - |
    sh -c "while :; do sleep 1; done" containment-left-behind-time-limit > /dev/null 2>&1 &
    (setsid sh -c "while :; do sleep 1; done" containment-left-behind-time-limit > /dev/null 2>&1 &)
    sleep 60
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
