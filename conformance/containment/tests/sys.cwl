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
    touch here && echo ran
    find /sys -maxdepth 3 -type f -writable 2>/dev/null | while read -r name
    do { : >> "$name"; } 2>/dev/null && echo "$name: writable"
    done | head -n 1
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
