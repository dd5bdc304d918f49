cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/busybox:1.36
inputs:
  number: int
  seconds: string
outputs:
  output: stdout
stdout: output.txt
baseCommand: [sh, -c, 'sleep "$1"; echo "$2"', sh]
arguments: [$(inputs.seconds), $(inputs.number)]
