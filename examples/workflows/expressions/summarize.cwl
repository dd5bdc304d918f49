cwlVersion: v1.2
class: ExpressionTool
doc: Puts everything into lines.

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
  shouted:
    type:
      type: array
      items: ["null", string]

expression: |
  ${
    var lines = [inputs.title];
    var total = 0;
    for (var i = 0; i < inputs.texts.length; i++) {
      lines.push(line(inputs.shouted[i] || inputs.texts[i], inputs.words[i]));
      total += inputs.words[i];
    }
    return {lines: lines, total: total};
  }

outputs:
  lines: string[]
  total: int
