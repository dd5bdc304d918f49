#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# cwltool 3.3.20260925135507 (PyPI), November 2026
#
# One would guess: steps that do not depend on each other, run one after the other, start in the
# order in which the document has them, and in the same order each time.
# Seen: a workflow's steps are shuffled when it is loaded (`random.shuffle`), and no option or
# variable fixes that: the same document starts its eight steps in another order each time. What
# compares two runs by their logs, or expects a failing step to come first, must not.
set -uo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check cwltool==3.3.20260925135507
cd "$place" || exit 1
{
    echo '{"cwlVersion": "v1.2", "class": "Workflow", "inputs": [], "outputs": [], "steps": {'
    for number in 1 2 3 4 5 6 7 8; do
        [ $number = 1 ] || echo ,
        echo "\"step$number\": {\"in\": [], \"out\": [], \"run\": {\"class\": \"CommandLineTool\","
        echo '"inputs": [], "outputs": [], "baseCommand": "true"}}'
    done
    echo '}}'
} >flow.cwl
for run in 1 2 3 4; do
    PYTHONHASHSEED=0 venv/bin/cwltool --disable-color --no-container flow.cwl 2>&1 >/dev/null \
        | sed -n 's/.*\[step step\([0-9]\)\] start.*/\1/p' | tr -d '\n' >>orders
    echo >>orders
done
cat orders
[ "$(wc -l <orders)" = 4 ] && ! grep -qvE '^[1-8]{8}$' orders && [ "$(sort -u orders | wc -l)" -gt 1 ]
