#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
requirements:
  EnvVarRequirement:
    envDef:
      CONTAINMENT_SET: a value  with spaces
      LANG: C.containment
inputs: []
baseCommand: [sh, -c]
arguments:
  - |
    echo "$CONTAINMENT_SET"; echo "$LANG"
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
