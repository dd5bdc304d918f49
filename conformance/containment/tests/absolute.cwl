#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  file: File
  directory: Directory
baseCommand: [sh, -c]
arguments:
  - |
    for path in "$0" "$1"; do case "$path" in /*) echo absolute ;; *) echo relative ;; esac; done
    cat "$0" "$1/file.txt"
  - valueFrom: $(inputs.file.path)
  - valueFrom: $(inputs.directory.path)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
