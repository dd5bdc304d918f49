cwlVersion: v1.2
class: Workflow
doc: Counts the words of each text, side by side, and adds up.

requirements:
  ScatterFeatureRequirement: {}
  InlineJavascriptRequirement: {}

inputs:
  texts: File[]

steps:
  count:
    run:
      class: CommandLineTool
      requirements:
        DockerRequirement:
          dockerPull: localhost/demo:1
      inputs:
        text:
          type: File
          inputBinding: {}
      baseCommand: [wc, -w]
      stdout: words.txt
      outputs:
        words:
          type: int
          outputBinding:
            glob: words.txt
            loadContents: true
            outputEval: $(parseInt(self[0].contents))
    scatter: text
    in:
      text: texts
    out: [words]
  say:
    run:
      class: CommandLineTool
      requirements:
        DockerRequirement:
          dockerPull: localhost/demo:1
      inputs:
        words: int[]
      baseCommand: [sh, -c]
      arguments:
        - 'echo "$0 words in $1 texts; counted in $PWD"; if touch /etc/x 2>/dev/null; then echo "the image can be changed"; else echo "the image cannot be changed"; fi'
        - $(inputs.words.reduce(function(a, b) { return a + b; }, 0))
        - $(inputs.words.length)
      stdout: report.txt
      outputs:
        report:
          type: stdout
    in:
      words: count/words
    out: [report]

outputs:
  report:
    type: File
    outputSource: say/report
