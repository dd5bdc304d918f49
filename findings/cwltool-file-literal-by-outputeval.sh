#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# cwltool 3.3.20260925135507 (PyPI), November 2026
#
# One would guess: an output that an expression (outputEval) makes up as a File literal, with
# `basename` and `contents`, is written to the output directory, as a literal from an ExpressionTool
# is: CWL v1.2 says of File objects that contents without a location are a literal.
# Seen: of an ExpressionTool it is; of a CommandLineTool the run fails with "Output File object is
# missing both 'location' and 'path' fields".
set -uo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check cwltool==3.3.20260925135507
cd "$place" || exit 1
cat > tool.cwl <<'C'
cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
inputs: []
baseCommand: "true"
outputs:
  made: {type: File, outputBinding: {outputEval: '${ return {class: "File", basename: "made.txt", contents: "x"}; }'}}
C
cat > expression.cwl <<'C'
cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: []
expression: '${ return {made: {class: "File", basename: "made.txt", contents: "x"}}; }'
outputs: {made: File}
C
venv/bin/cwltool --disable-color --no-container --outdir tool tool.cwl >/dev/null 2>tool.log; tool=$?
venv/bin/cwltool --disable-color --no-container --outdir expression expression.cwl >/dev/null 2>expression.log; expression=$?
echo "ExpressionTool: exit $expression, $(cat expression/made.txt)"
echo "CommandLineTool: exit $tool, $(grep -o "Output File object is missing.*fields" tool.log | head -1)"
[ $expression = 0 ] && [ $tool != 0 ] && grep -q "missing both 'location' and 'path'" tool.log
