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
    echo ran
    unshare -U -r -m sh -c 'mount --bind "$0" /mnt && mount -o remount,bind,rw /mnt && echo x >> /mnt' "$0" 2>/dev/null && echo changed || echo refused
    unshare -U -r -m mount -t tmpfs none /usr 2>/dev/null && echo mounted || echo refused
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
