#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  before: string
baseCommand: [sh, -c]
arguments:
  - |
    printf %s "$0"; ls -A /tmp "$TMPDIR" | grep containment-left | wc -l
  - valueFrom: $(inputs.before)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
