#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs: []
baseCommand: [sh, -c]
arguments:
  - |
    echo ran
    env | grep CONTAINMENT_CANARY | wc -l
    cat /proc/self/environ /proc/1/environ 2>/dev/null | tr '\0' '\n' | grep CONTAINMENT_CANARY | wc -l
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
