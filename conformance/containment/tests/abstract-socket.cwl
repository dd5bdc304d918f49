#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  abstract_socket: string
baseCommand: [perl, -e]
arguments:
  - |
    use Socket;
    print "ran\n";
    socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die;
    print connect($s, pack("S a*", AF_UNIX, "\0$ARGV[0]")) ? "connected\n" : "refused\n";
  - valueFrom: $(inputs.abstract_socket)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
