cwlVersion: v1.2
class: Workflow
requirements:
  ScatterFeatureRequirement: {}
inputs:
  numbers: int[]
  seconds: string
outputs:
  files:
    type: File[]
    outputSource: sleep/output
steps:
  sleep:
    run: sleep.cwl
    scatter: number
    in:
      number: numbers
      seconds: seconds
    out: [output]
