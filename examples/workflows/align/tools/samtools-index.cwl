cwlVersion: v1.2
class: CommandLineTool
doc: Makes the index of a sorted BAM.

requirements:
  DockerRequirement:
    dockerPull: quay.io/biocontainers/samtools:1.16.1--h6899075_1
  InitialWorkDirRequirement:
    listing:
      - $(inputs.sorted)
  ResourceRequirement:
    coresMin: 1
    ramMin: 256

inputs:
  sorted:
    type: File
    inputBinding:
      position: 1

baseCommand: [samtools, index]

outputs:
  indexed:
    type: File
    secondaryFiles: [.bai]
    outputBinding:
      glob: $(inputs.sorted.basename)
