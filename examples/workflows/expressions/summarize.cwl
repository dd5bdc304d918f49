cwlVersion: v1.2
class: ExpressionTool
doc: Puts texts and their numbers of words into lines, the total last.

requirements:
  InlineJavascriptRequirement:
    expressionLib:
      - |
        function line(text, words) {
          return words + " words: " + text;
        }

inputs:
  title: string
  texts: string[]
  words: int[]

expression: |
  ${
    var lines = [inputs.title];
    var total = 0;
    for (var i = 0; i < inputs.texts.length; i++) {
      lines.push(line(inputs.texts[i], inputs.words[i]));
      total += inputs.words[i];
    }
    return {lines: lines, last: line("in all", total), total: total};
  }

outputs:
  lines: string[]
  last: string
  total: int
