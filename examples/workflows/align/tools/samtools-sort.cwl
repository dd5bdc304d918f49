cwlVersion: v1.2
class: CommandLineTool
doc: Sorts an alignment by position, and writes it as BAM.

requirements:
  DockerRequirement:
    dockerPull: quay.io/biocontainers/samtools:1.16.1--h6899075_1
  ResourceRequirement:
    coresMin: 1
    ramMin: 256

inputs:
  alignment:
    type: File
    inputBinding:
      position: 1

baseCommand: [samtools, sort]
arguments:
  - prefix: -T
    valueFrom: $(runtime.tmpdir)/sort
  - prefix: -o
    valueFrom: $(inputs.alignment.nameroot).bam

outputs:
  sorted:
    type: File
    outputBinding:
      glob: $(inputs.alignment.nameroot).bam
