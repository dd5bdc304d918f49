cwlVersion: v1.2
class: CommandLineTool
doc: Counts reads by how they are aligned.

requirements:
  DockerRequirement:
    dockerPull: quay.io/biocontainers/samtools:1.16.1--h6899075_1
  ResourceRequirement:
    coresMin: 1
    ramMin: 256

inputs:
  sorted:
    type: File
    secondaryFiles: [.bai]
    inputBinding:
      position: 1

baseCommand: [samtools, flagstat]

stdout: $(inputs.sorted.nameroot).flagstat.txt

outputs:
  statistics:
    type: stdout
