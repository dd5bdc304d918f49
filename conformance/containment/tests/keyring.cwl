#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs: []
baseCommand: [perl, -e]
arguments:
  - |
    print "ran\n";
    my ($type, $name) = ("user", "containment-key");
    my $found = syscall(250, 10, -4, $type, $name, 0);
    print $found > 0 ? "found\n" : "not found\n";
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
