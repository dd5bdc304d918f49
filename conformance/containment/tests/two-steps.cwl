#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: Workflow
inputs: []
steps:
  first:
    run: leave-something.cwl
    in: {}
    out: [facts]
  second:
    run: look-for-it.cwl
    in:
      before: first/facts
    out: [facts]
outputs:
  facts:
    type: string
    outputSource: second/facts
