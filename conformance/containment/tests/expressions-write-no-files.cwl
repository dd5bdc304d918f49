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
      load("fs").writeFileSync(inputs.secret + ".written", "x");
      return {"facts": "written"};
    } catch (error) {
      return {"facts": "refused"};
    }
  }
outputs:
  facts: string
