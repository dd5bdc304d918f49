#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: ExpressionTool
requirements:
  InlineJavascriptRequirement: {}
inputs:
  documents: string
expression: |
  ${
    try {
      var global = Function("return this")();
      var host = global.constructor.constructor("return process")();
      var load = host.getBuiltinModule || function(name) { return host.mainModule.require(name); };
      var names = load("fs").readdirSync(inputs.documents);
      return {"facts": "listed: " + names.length};
    } catch (error) {
      return {"facts": "refused"};
    }
  }
outputs:
  facts: string
