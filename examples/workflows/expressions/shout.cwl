cwlVersion: v1.2
class: CommandLineTool
doc: Writes a text in capitals.

requirements:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
  InlineJavascriptRequirement: {}

inputs:
  text: string

baseCommand: [sh, -c]
arguments:
  - 'printf "%s" "$0" | tr a-z A-Z'
  - $(inputs.text)

stdout: shouted.txt

outputs:
  shouted:
    type: string
    outputBinding:
      glob: shouted.txt
      loadContents: true
      outputEval: $(self[0].contents)
