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
    touch here && echo ran
    attempt() { "$@" 2>/dev/null && echo "$1: done" || echo "$1: refused"; }
    attempt mount -o remount,bind,rw "$0"
    attempt mount -o remount,rw /
    attempt mount --bind . /usr
    attempt mount -t tmpfs none /usr
    attempt umount "$0"
    { echo x >> "$0"; } 2>/dev/null && echo changed || echo unchanged
  - valueFrom: $(inputs.file.path)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
