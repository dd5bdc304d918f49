#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  process: string
baseCommand: [perl, -e]
arguments:
  - |
    print "ran\n";
    my $attached = syscall(101, 16, $ARGV[0] + 0, 0, 0);
    print $attached == 0 ? "attached\n" : "refused\n";
    open(my $memory, "+<", "/proc/$ARGV[0]/mem") and print "memory opened\n" or print "no memory\n";
  - valueFrom: $(inputs.process)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
