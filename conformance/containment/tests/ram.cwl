#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
requirements:
  ResourceRequirement:
    ramMin: 64
inputs: []
baseCommand: [sh, -c]
arguments:
  - |
    test "$0" -ge 64 && test `grep MemTotal /proc/meminfo | tr -dc 0-9` -ge `expr "$0" \* 1024` && echo true || echo "ram $0"
  - $(runtime.ram)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
