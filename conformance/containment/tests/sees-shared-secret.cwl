#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  shared_secret: string
baseCommand: [sh, -c]
arguments:
  - |
    touch here && echo ran
    test -e "$0" && echo visible || echo "not visible"
  - valueFrom: $(inputs.shared_secret)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
