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
    test "$TMPDIR" = "$0" && test -d "$TMPDIR" && echo "TMPDIR is runtime.tmpdir" || echo "TMPDIR=$TMPDIR"
  - $(runtime.tmpdir)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
