#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
requirements:
  InitialWorkDirRequirement:
    listing:
      - entryname: staged
        entry: $(inputs.directory)
        writable: true
inputs:
  directory: Directory
baseCommand: [sh, -c]
arguments:
  - |
    { echo more >> staged/file.txt && touch staged/new; } 2>/dev/null && echo changed
    cat staged/file.txt; ls staged
  - valueFrom: $(inputs.directory.path)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
