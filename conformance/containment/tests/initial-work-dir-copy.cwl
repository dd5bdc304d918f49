#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
requirements:
  InitialWorkDirRequirement:
    listing:
      - entryname: staged.txt
        entry: $(inputs.file)
        writable: true
inputs:
  file: File
baseCommand: [sh, -c]
arguments:
  - |
    { echo more >> staged.txt; } 2>/dev/null && echo changed
    cat staged.txt
  - valueFrom: $(inputs.file.path)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
