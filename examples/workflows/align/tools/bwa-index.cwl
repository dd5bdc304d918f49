cwlVersion: v1.2
class: CommandLineTool
doc: Makes the index of a reference that bwa mem reads.

requirements:
  DockerRequirement:
    dockerPull: quay.io/biocontainers/bwa:0.7.17--hed695b0_7
  InitialWorkDirRequirement:
    listing:
      # bwa writes the index beside the reference.
      - $(inputs.reference)
  ResourceRequirement:
    coresMin: 1
    ramMin: 256

inputs:
  reference:
    type: File
    inputBinding:
      position: 1

baseCommand: [bwa, index]

outputs:
  indexed:
    type: File
    secondaryFiles: [.amb, .ann, .bwt, .pac, .sa]
    outputBinding:
      glob: $(inputs.reference.basename)
