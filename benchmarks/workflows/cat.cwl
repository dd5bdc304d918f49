cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  number: int
  file:
    type: File
    inputBinding: {}
baseCommand: cat
stdout: $(inputs.number).txt
outputs:
  copy:
    type: stdout
