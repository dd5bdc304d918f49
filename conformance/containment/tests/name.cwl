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
    test -n "`id -un 2>/dev/null`" && id -un > /dev/null 2>&1 && echo "has a name" || echo "has no name"
    perl -e 'print getpwuid($<) ? "in passwd\n" : "not in passwd\n"'
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
