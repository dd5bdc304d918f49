cwlVersion: v1.2
class: Workflow
doc: One `cat`.
inputs:
  file: File
steps:
  cat:
    run: cat.cwl
    in:
      number:
        default: 1
      file: file
    out: [copy]
outputs:
  copy:
    type: File
    outputSource: cat/copy
