#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement:
    dockerPull: docker.io/library/debian:stable-slim
inputs:
  port: string
baseCommand: [perl, -e]
arguments:
  - |
    use Socket;
    print "ran\n";
    socket(my $s, AF_INET, SOCK_STREAM, 0) or die;
    print connect($s, sockaddr_in($ARGV[0], inet_aton("127.0.0.1"))) ? "connected\n" : "refused\n";
  - valueFrom: $(inputs.port)
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
