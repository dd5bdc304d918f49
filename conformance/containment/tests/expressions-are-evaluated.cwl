#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: ExpressionTool
requirements:
  InlineJavascriptRequirement: {}
inputs: []
expression: |
  ${
    return {"facts": "three: " + (1 + 2)};
  }
outputs:
  facts: string
