#!/usr/bin/env cwltool
cwlVersion: v1.2
class: Workflow
doc: >
  Counts the words of texts, side by side; those with fewer than a number of words are reported
  as they are, the others in capitals.

requirements:
  InlineJavascriptRequirement: {}
  ScatterFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  MultipleInputFeatureRequirement: {}

inputs:
  texts: string[]
  long: int

steps:
  count:
    run: count-words.cwl
    scatter: text
    in:
      text: texts
    out: [words]
  shout:
    run: shout.cwl
    scatter: [text, words]
    scatterMethod: dotproduct
    when: $(inputs.words >= inputs.long)
    in:
      text: texts
      words: count/words
      long: long
    out: [shouted]
  summary:
    run: summarize.cwl
    in:
      texts: texts
      words: count/words
      shouted: shout/shouted
      title:
        valueFrom: $(inputs.texts.length + " texts")
    out: [lines, total]

outputs:
  lines:
    type: string[]
    outputSource: summary/lines
  total:
    type: int
    outputSource: summary/total
  shouted:
    type: string[]
    outputSource: shout/shouted
    pickValue: all_non_null
