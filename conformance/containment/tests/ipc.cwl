#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  shared_memory_key: string
baseCommand: [perl, -e]
arguments:
  - |
    print "ran\n";
    print defined(shmget($ARGV[0] + 0, 0, 0)) ? "found\n" : "not found\n";
  - valueFrom: $(inputs.shared_memory_key)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
