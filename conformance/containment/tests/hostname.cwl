#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  hostname: string
baseCommand: [sh, -c]
arguments:
  - |
    test "`cat /proc/sys/kernel/hostname`" = "$0" && echo "the host's" || echo "its own"
  - valueFrom: $(inputs.hostname)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
