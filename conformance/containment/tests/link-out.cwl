#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  secret: string
baseCommand: [sh, -c]
arguments:
  - |
    echo ran
    ln -s "$0" leak.txt
  - valueFrom: $(inputs.secret)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
  leak:
    type: File
    outputBinding:
      glob: leak.txt
