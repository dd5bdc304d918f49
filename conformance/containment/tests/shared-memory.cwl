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
    echo content > /dev/shm/containment-made && echo ran
    ls -A /dev/shm
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
