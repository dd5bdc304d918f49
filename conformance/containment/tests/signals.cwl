#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  process: string
baseCommand: [sh, -c]
arguments:
  - |
    echo ran
    kill -0 "$0" 2>/dev/null && echo "signalled" || echo "refused"
  - valueFrom: $(inputs.process)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
