#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  where: string
baseCommand: [sh, -c]
arguments:
  - |
    touch here && echo "output directory: writable"
    if { mkdir -p "$0" && touch "$0/containment-was-here"; } 2>/dev/null
    then echo "$0: writable"; rm -f "$0/containment-was-here"
    else echo "$0: not writable"
    fi
  - valueFrom: $(inputs.where)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
