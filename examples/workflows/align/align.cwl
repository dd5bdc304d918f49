#!/usr/bin/env cwltool
cwlVersion: v1.2
class: Workflow
doc: Indexes a reference, and aligns the paired reads of any number of samples to it.

requirements:
  ScatterFeatureRequirement: {}
  SubworkflowFeatureRequirement: {}

inputs:
  reference: File
  samples: string[]
  forward: File[]
  reverse: File[]

steps:
  index:
    run: tools/bwa-index.cwl
    in:
      reference: reference
    out: [indexed]
  sample:
    run: align-sample.cwl
    scatter: [sample, forward, reverse]
    scatterMethod: dotproduct
    in:
      sample: samples
      reference: index/indexed
      forward: forward
      reverse: reverse
    out: [alignment, statistics]

outputs:
  alignments:
    type: File[]
    outputSource: sample/alignment
  statistics:
    type: File[]
    outputSource: sample/statistics
