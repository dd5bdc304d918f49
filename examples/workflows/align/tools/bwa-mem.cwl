cwlVersion: v1.2
class: CommandLineTool
doc: Aligns paired reads to an indexed reference.

requirements:
  DockerRequirement:
    dockerPull: quay.io/biocontainers/bwa:0.7.17--hed695b0_7
  ResourceRequirement:
    coresMin: 1
    coresMax: 4
    ramMin: 256

inputs:
  sample:
    type: string
    inputBinding:
      position: 1
      prefix: -R
      valueFrom: '@RG\tID:$(self)\tSM:$(self)'
  reference:
    type: File
    secondaryFiles: [.amb, .ann, .bwt, .pac, .sa]
    inputBinding:
      position: 2
  forward:
    type: File
    inputBinding:
      position: 3
  reverse:
    type: File
    inputBinding:
      position: 4

baseCommand: [bwa, mem]
arguments:
  - prefix: -t
    valueFrom: $(runtime.cores)

stdout: $(inputs.sample).sam

outputs:
  alignment:
    type: stdout
