#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: ExpressionTool
requirements:
  InlineJavascriptRequirement: {}
inputs: []
expression: |
  ${
    var global = Function("return this")();
    var host = global.constructor.constructor("return process")();
    var load = host.getBuiltinModule || function(name) { return host.mainModule.require(name); };
    var interfaces = load("os").networkInterfaces();
    var outside = Object.keys(interfaces).filter(function(name) { return name !== "lo"; });
    return {"facts": outside.length ? "network" : "no network"};
  }
outputs:
  facts: string
