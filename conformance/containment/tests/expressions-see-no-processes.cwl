#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: ExpressionTool
requirements:
  InlineJavascriptRequirement: {}
inputs:
  process: string
expression: |
  ${
    try {
      var global = Function("return this")();
      var host = global.constructor.constructor("return process")();
      var load = host.getBuiltinModule || function(name) { return host.mainModule.require(name); };
      host.kill(parseInt(inputs.process), 0);
      return {"facts": "signalled"};
    } catch (error) {
      return {"facts": "refused"};
    }
  }
outputs:
  facts: string
