cwlVersion: v1.2
class: CommandLineTool
doc: Counts the words of a text.

requirements:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
  InlineJavascriptRequirement: {}

inputs:
  text: string

baseCommand: [sh, -c]
arguments:
  - 'printf "%s" "$0" | wc -w'
  - $(inputs.text)

stdout: words.txt

outputs:
  words:
    type: int
    outputBinding:
      glob: words.txt
      loadContents: true
      outputEval: $(parseInt(self[0].contents))
