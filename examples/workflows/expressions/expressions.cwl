#!/usr/bin/env cwltool
cwlVersion: v1.2
class: Workflow
doc: Counts the words of texts, side by side, and draws attention to it if they are many.

requirements:
  InlineJavascriptRequirement: {}
  ScatterFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  MultipleInputFeatureRequirement: {}

inputs:
  texts: string[]
  many: int

steps:
  count:
    run: count-words.cwl
    scatter: text
    in:
      text: texts
    out: [words]
  summarize:
    run: summarize.cwl
    in:
      texts: texts
      words: count/words
      title:
        valueFrom: $(inputs.texts.length + " texts")
    out: [lines, last, total]
  shout:
    run: shout.cwl
    when: $(inputs.total >= inputs.many)
    in:
      text: summarize/last
      total: summarize/total
      many: many
    out: [shouted]

outputs:
  lines:
    type: string[]
    outputSource: summarize/lines
  message:
    type: string
    outputSource: [shout/shouted, summarize/last]
    pickValue: first_non_null
