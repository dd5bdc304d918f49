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
    id -u > /dev/null && echo "ran"
    for change in "chmod u+w /etc/os-release" "rm -f /etc/os-release" "mv here /etc/os-release" "ln -sf here /etc/os-release"
    do touch here; $change 2>/dev/null && echo "$change: done" || echo "$change: refused"
    done
    { echo x >> /usr/bin/env; } 2>/dev/null && echo "append: done" || echo "append: refused"
    grep -c "^ID=" /etc/os-release
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
