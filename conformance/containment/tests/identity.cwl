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
    echo "`id -u` `id -g`" > ids
    test "`cat ids`" = "$0 $1" && echo "the caller" || echo "another: `cat ids`"
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
