#!/usr/bin/env cwltool
cwlVersion: v1.2
class: CommandLineTool
doc: Writes a greeting, and the name of the system that the container has.

requirements:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim

inputs:
  who:
    type: string
    default: world

baseCommand: [sh, -c]
arguments:
  - '. /etc/os-release; echo "Hello, $0, from $PRETTY_NAME"'
  - $(inputs.who)

stdout: greeting.txt

outputs:
  greeting:
    type: stdout
