#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
requirements:
  NetworkAccess:
    networkAccess: true
inputs: []
baseCommand: [sh, -c]
arguments:
  - |
    test `grep -c : /proc/self/net/dev` -gt 1 && echo network || echo "no network"
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
