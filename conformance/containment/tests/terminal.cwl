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
    use POSIX;
    $| = 1;
    $SIG{HUP} = "IGNORE";
    print "ran\n";
    open(my $terminal, "+<", "/dev/ptmx") or do { print "refused\n"; exit };
    my $number = pack("i", 0); my $unlock = pack("i", 0);
    ioctl($terminal, 0x40045431, $unlock); ioctl($terminal, 0x80045430, $number);
    POSIX::setsid();
    open(my $other, "+<", "/dev/pts/" . unpack("i", $number)) or do { print "refused\n"; exit };
    ioctl($other, 0x540E, 0);
    my $character = "x";
    print ioctl($other, 0x5412, $character) ? "injected\n" : "refused\n";
stdout: facts.txt
outputs:
  facts:
    type: string
    outputBinding:
      glob: facts.txt
      loadContents: true
      outputEval: $(self[0].contents)
