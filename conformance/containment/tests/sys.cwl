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
    for name in kernel/mm/transparent_hugepage/enabled kernel/mm/ksm/run module/printk/parameters/time kernel/uevent_helper
    do { printf "" >> "/sys/$name"; } 2>/dev/null && echo "$name: writable"
    done
    true
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
