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
    echo ran
    find /dev -type b 2>/dev/null | wc -l
    for name in mem kmsg port kvm fuse input snd; do test -e "/dev/$name" && echo "$name"; done
    for name in null zero random urandom; do test -c "/dev/$name" && echo "$name"; done
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
