#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  file: File
baseCommand: [sh, -c]
arguments:
  - |
    { ln "$0" link && echo x >> link; } 2>/dev/null && echo "changed" || echo "refused"
    cat "$0"
  - valueFrom: $(inputs.file.path)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
