# SPDX-License-Identifier: Apache-2.0
"""Steps that make Directories, and steps that look into them."""

from __future__ import annotations

from typing import Any

BUSYBOX = {"DockerRequirement": {"dockerPull": "busybox:1.36"}}
DIRECTORY = {"type": "Directory", "outputBinding": {"glob": "d"}}


def tool(script: str, *arguments: str, **fields: Any) -> dict[str, Any]:
    """A tool that runs a shell script."""
    return {
        "class": "CommandLineTool",
        "hints": BUSYBOX,
        "inputs": {},
        "baseCommand": ["sh", "-c", script, "sh"],
        "arguments": list(arguments),
        "outputs": {"d": DIRECTORY},
        **fields,
    }


def reader(script: str, **fields: Any) -> dict[str, Any]:
    """A tool that is given a Directory, its path as $1, and writes what it sees there."""
    return tool(
        script,
        "$(inputs.d.path)",
        **{
            "inputs": {"d": "Directory"},
            "stdout": "seen.txt",
            "outputs": {"seen": "stdout"},
            **fields,
        },
    )


def workflow(
    inputs: dict[str, Any], steps: dict[str, Any], outputs: dict[str, str], **fields: Any
) -> dict[str, Any]:
    """A workflow; a step is what it runs, and what it is given."""
    requirements = ("InlineJavascriptRequirement", "StepInputExpressionRequirement")
    return {
        "class": "Workflow",
        "requirements": {name: {} for name in (*requirements, "ScatterFeatureRequirement")},
        "inputs": inputs,
        "steps": {
            name: {"run": run, "in": given, "out": list(run["outputs"]), **more}
            for name, (run, given, *others) in steps.items()
            for more in (others[0] if others else {},)
        },
        "outputs": {
            name: {"type": fields.get(name, "Directory"), "outputSource": source}
            for name, source in outputs.items()
        },
    }


INDEX_SCRIPT = """
mkdir -p other/sub d/inner
echo index > d/ref.fa.idx; echo sibling > other/x; echo deep > other/sub/y; touch /tmp/file
ln -s ../other/x d/sibling; ln -s ../other d/directory; ln -s directory/sub/y d/through
ln -s "$1" d/input; ln -s $PWD/d/ref.fa.idx d/own; ln -s own d/chain
ln -s ../ref.fa.idx d/inner/up; ln -s ../../other/x d/inner/sibling
ln -s . d/X11; ln -s ../d/ref.fa.idx d/around
ln -s nowhere d/gone; ln -s /etc/passwd d/image; ln -s /tmp/file d/temporary
"""
INDEX = tool(
    INDEX_SCRIPT,
    "$(inputs.ref.path)",
    inputs={"ref": "File"},
    requirements={
        "InitialWorkDirRequirement": {
            "listing": [{"entryname": "d/ref.fa", "entry": "$(inputs.ref)"}]
        }
    },
)
INDEX_SEEN = {
    "ref.fa": "ACGT",
    "input": "ACGT",
    "ref.fa.idx": "index",
    "own": "index",
    "chain": "index",
    "around": "index",
    "inner/up": "index",
    "X11/own": "index",
    "sibling": "sibling",
    "inner/sibling": "sibling",
    "directory/x": "sibling",
    "directory/sub/y": "deep",
    "through": "deep",
}
LOOK = f"""cd "$1"
for file in {" ".join(INDEX_SEEN)} gone image temporary; do echo $file=`cat $file`; done"""


def seen(text: str) -> dict[str, str]:
    lines = (line.partition("=") for line in text.splitlines())
    return {name: content for name, _, content in lines if content}
