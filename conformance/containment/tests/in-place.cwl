#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
requirements:
  InplaceUpdateRequirement:
    inplaceUpdate: true
  InitialWorkDirRequirement:
    listing:
      - entryname: updated.txt
        entry: $(inputs.updated)
        writable: true
inputs:
  updated: File
baseCommand: [sh, -c]
arguments:
  - |
    { echo more >> updated.txt; } 2>/dev/null && echo changed
    cat updated.txt
  - valueFrom: $(inputs.updated.path)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
  updated_file:
    type: File
    outputBinding:
      glob: updated.txt
