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
    for number in 3 4 5 6 7 8 9 10 11 12 13 14 15
    do test -e "/proc/$$/fd/$number" && echo "$number is open: `readlink /proc/$$/fd/$number`"
    done
    echo "nothing else is open"
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
