cwlVersion: v1.2
class: Workflow
doc: One `cat` for each number.
requirements:
  ScatterFeatureRequirement: {}
inputs:
  numbers: int[]
  file: File
steps:
  cat:
    run: cat.cwl
    scatter: number
    in:
      number: numbers
      file: file
    out: [copy]
outputs:
  copies:
    type: File[]
    outputSource: cat/copy
