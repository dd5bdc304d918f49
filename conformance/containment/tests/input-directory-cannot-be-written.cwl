#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  directory: Directory
baseCommand: [sh, -c]
arguments:
  - |
    for change in "touch $0/new" "rm -f $0/file.txt" "mv $0/file.txt $0/other.txt" "mkdir $0/deeper/new" "touch -d 2001-01-01 $0/file.txt"
    do $change 2>/dev/null && echo changed || echo refused
    done
    cat "$0/file.txt"
  - valueFrom: $(inputs.directory.path)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
