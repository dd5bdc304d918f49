cwlVersion: v1.2
class: Workflow
doc: Aligns one sample, sorts and indexes the alignment, and counts.

inputs:
  sample: string
  reference:
    type: File
    secondaryFiles: [.amb, .ann, .bwt, .pac, .sa]
  forward: File
  reverse: File

steps:
  align:
    run: tools/bwa-mem.cwl
    in:
      sample: sample
      reference: reference
      forward: forward
      reverse: reverse
    out: [alignment]
  sort:
    run: tools/samtools-sort.cwl
    in:
      alignment: align/alignment
    out: [sorted]
  index:
    run: tools/samtools-index.cwl
    in:
      sorted: sort/sorted
    out: [indexed]
  count:
    run: tools/samtools-flagstat.cwl
    in:
      sorted: index/indexed
    out: [statistics]

outputs:
  alignment:
    type: File
    secondaryFiles: [.bai]
    outputSource: index/indexed
  statistics:
    type: File
    outputSource: count/statistics
