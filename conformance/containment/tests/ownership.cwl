#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  uid: string
  gid: string
baseCommand: [sh, -c]
arguments:
  - |
    touch made; mkdir directory
    test "`stat -c "%u %g" made`" = "$0 $1" && echo "the caller's" || echo "another's"
  - valueFrom: $(inputs.uid)
  - valueFrom: $(inputs.gid)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
