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
    echo ran
    mkdir -p closed/deeper "$TMPDIR/closed/deeper"; echo content > closed/deeper/file
    chmod 0 closed/deeper/file closed/deeper "$TMPDIR/closed"; chmod 0 closed
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
  closed:
    type: Directory
    outputBinding:
      glob: closed
