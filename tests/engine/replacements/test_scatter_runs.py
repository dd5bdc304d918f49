# SPDX-License-Identifier: Apache-2.0
"""Runs with scatters of all forms give what cwltool gives that runs the same without containers."""

from __future__ import annotations

import itertools
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import Command

PLAIN = (sys.executable, "-c", "import sys, cwltool.main; sys.exit(cwltool.main.run())")
NUMBERS = {"numbers": [3, 1, 2], "others": [10, 20, 30], "none": []}
FEATURES = (
    *("InlineJavascript", "StepInputExpression"),
    *("ScatterFeature", "SubworkflowFeature", "MultipleInputFeature"),
)
REQUIREMENTS: dict[str, Any] = {f"{name}Requirement": {} for name in FEATURES}


def tool(script: str, outputs: dict[str, Any], **inputs: str) -> dict[str, Any]:
    """A shell script that is given its inputs in their order."""
    return {
        "class": "CommandLineTool",
        "hints": {"DockerRequirement": {"dockerPull": "busybox:1.36"}},
        "requirements": {"InlineJavascriptRequirement": {}},
        "inputs": {
            name: {"type": kind, "inputBinding": {"position": position}}
            for position, (name, kind) in enumerate(inputs.items())
        },
        "baseCommand": ["sh", "-c", script, "sh"],
        "outputs": outputs,
    }


def glob(pattern: str, kind: str = "File", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "outputBinding": {"glob": pattern}, **fields}


ECHO = tool("echo $* > out.txt", {"out": glob("out.txt")}, number="int")
TWO = tool("echo $* > out.txt", {"out": glob("out.txt")}, number="int", other="int")
CAT = tool('cat "$@" > out.txt', {"out": glob("out.txt")}, files="File[]")
SEVERAL = tool(
    "mkdir -p tree/$1; echo $1 > tree/$1/leaf; echo $1 > a.dat; echo $1 > a.dat.idx",
    {"tree": glob("tree", "Directory"), "data": glob("a.dat", secondaryFiles=[".idx"])},
    number="int",
)
EXPRESSION = {
    "class": "ExpressionTool",
    "requirements": {"InlineJavascriptRequirement": {}},
    "inputs": {"number": "int"},
    "outputs": {"out": "int"},
    "expression": "$({out: inputs.number + 1})",
}


def inner(first: dict[str, Any]) -> dict[str, Any]:
    """A workflow whose first step is that process."""
    files = {"source": ["first/out"], "linkMerge": "merge_flattened"}
    return {
        "class": "Workflow",
        "inputs": {"number": "int"},
        "steps": {
            "first": {"run": first, "in": {"number": "number"}, "out": ["out"]},
            "then": {"run": CAT, "in": {"files": files}, "out": ["out"]},
        },
        "outputs": {"out": {"type": "File", "outputSource": "then/out"}},
    }


BY_NUMBER = {"scatter": "number", "in": {"number": "numbers"}, "out": ["out"]}
BY_BOTH = {
    "run": TWO,
    "scatter": ["number", "other"],
    "in": {"number": "numbers", "other": "others"},
    "out": ["out"],
}
STEPS: dict[str, dict[str, Any]] = {
    "echo": {**BY_NUMBER, "run": ECHO},
    "pairs": {**BY_BOTH, "scatterMethod": "dotproduct"},
    "flat": {**BY_BOTH, "scatterMethod": "flat_crossproduct"},
    "nested": {**BY_BOTH, "scatterMethod": "nested_crossproduct"},
    "odd": {**BY_NUMBER, "run": ECHO, "when": "$(inputs.number % 2 == 1)"},
    "twice": {
        **BY_NUMBER,
        "run": ECHO,
        "in": {"number": {"source": "numbers", "valueFrom": "$(2 * self)"}},
    },
    "next": {**BY_NUMBER, "run": EXPRESSION},
    "several": {**BY_NUMBER, "run": SEVERAL, "out": ["tree", "data"]},
    "empty": {**BY_NUMBER, "run": ECHO, "in": {"number": "none"}},
    "inner": {**BY_NUMBER, "run": inner(ECHO)},
    "merged": {
        "run": CAT,
        "in": {"files": {"source": ["echo/out", "inner/out"], "linkMerge": "merge_flattened"}},
        "out": ["out"],
    },
}
ARRAY = {"type": "array", "items": "File"}
OUTPUTS = {
    **{
        name: {"type": ARRAY, "outputSource": f"{name}/out"}
        for name in ("echo", "pairs", "flat", "twice", "empty", "inner")
    },
    "odd": {"type": ARRAY, "outputSource": "odd/out", "pickValue": "all_non_null"},
    "nested": {"type": {"type": "array", "items": ARRAY}, "outputSource": "nested/out"},
    "next": {"type": "int[]", "outputSource": "next/out"},
    "trees": {"type": "Directory[]", "outputSource": "several/tree"},
    "data": {"type": ARRAY, "outputSource": "several/data"},
    "merged": {"type": "File", "outputSource": "merged/out"},
}
FAILING = tool("echo $1 > out.txt; test $1 != 1 || exit 1", {"out": glob("out.txt")}, number="int")


def workflow(steps: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    return {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "requirements": REQUIREMENTS,
        "inputs": dict.fromkeys(NUMBERS, "int[]"),
        "steps": steps,
        "outputs": outputs,
    }


class Outcome:
    """What is left of a run: exit code, outputs, files, and what the log says of jobs."""

    def __init__(self, run_command: Command, top: Path, command: tuple[str, ...]) -> None:
        out = top / f"outputs{len(list(top.iterdir()))}"
        done = run_command(*command, "--outdir", out, "workflow.cwl", "job.json")
        self.log = done.stderr
        self.code = done.returncode
        self.outputs = done.stdout.replace(str(out), "OUT")
        self.files = {
            str(path.relative_to(out)): path.read_text() if path.is_file() else None
            for path in sorted(out.rglob("*"))
        }
        plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr)
        self.jobs = sorted(re.findall(r"\[job [^]]+\] completed \w+", plain))

    def facts(self) -> tuple[Any, ...]:
        return self.code, self.outputs, self.files


@pytest.fixture
def compare(run_command: Command, tmp_path: Path) -> Any:
    """Run a workflow with cwltool alone and with --udss in all of `modes`, and compare."""

    def run(
        document: dict[str, Any], *options: str, modes: tuple[str, ...] = ("", "--parallel")
    ) -> Outcome:
        (tmp_path / "workflow.cwl").write_text(json.dumps(document))
        (tmp_path / "job.json").write_text(json.dumps(NUMBERS))
        theirs = Outcome(run_command, tmp_path, (*PLAIN, "--no-container", *options))
        for mode in modes:
            command = ("cwltool", "--udss", *options, *filter(None, [mode]))
            ours = Outcome(run_command, tmp_path, command)
            assert ours.facts() == theirs.facts(), ours.log
            if not mode:  # else the order of jobs may differ, and so their names
                assert ours.jobs == theirs.jobs
        return theirs

    return run


def test_scatters_of_all_forms(compare: Any) -> None:
    outcome = compare(workflow(STEPS, OUTPUTS))
    assert outcome.code == 0, outcome.log
    assert "out.txt_10" in outcome.files


@pytest.mark.parametrize("process", [FAILING, inner(FAILING)], ids=["tool", "workflow"])
def test_a_scatter_goes_on_after_a_failure(compare: Any, process: dict[str, Any]) -> None:
    document = workflow({"echo": {**BY_NUMBER, "run": process}}, {"echo": OUTPUTS["echo"]})
    outcome = compare(document, "--on-error", "continue")
    assert outcome.code == 1
    assert len(outcome.files) == 2 + (process is FAILING)


def test_a_scatter_stops_at_a_failure(compare: Any) -> None:
    document = workflow({"echo": {**BY_NUMBER, "run": FAILING}}, {"echo": OUTPUTS["echo"]})
    # Side by side, the others may be running already.
    outcome = compare(document, modes=("",))
    assert len(outcome.jobs) == 2
    assert outcome.code == 1


def test_jobs_are_not_made_long_before_they_can_run(run_command: Command, tmp_path: Path) -> None:
    document = workflow({"echo": {**BY_NUMBER, "run": ECHO}}, {"echo": OUTPUTS["echo"]})
    (tmp_path / "workflow.cwl").write_text(json.dumps(document))
    (tmp_path / "job.json").write_text(json.dumps({**NUMBERS, "numbers": list(range(10))}))
    options = ("--udss", "--parallel", "--parallel-max", "1", "--debug")
    done = run_command("cwltool", *options, "workflow.cwl", "job.json")
    events = re.findall(r"\[job echo\w*\] (initializing|completed)", done.stderr)
    assert len(events) == 20, done.stderr
    made = itertools.accumulate({"initializing": 1, "completed": -1}[event] for event in events)
    assert max(made) == 2


def test_a_run_uses_what_is_linear(run_command: Command, tmp_path: Path) -> None:
    """Nothing else of a run tells it from cwltool's own."""
    (tmp_path / "workflow.cwl").write_text(json.dumps(workflow({}, {})))
    script = (
        "import sys; from cwl_udss.engine import driver; driver.run(sys.argv[1:]); "
        "import cwltool.executors; print(cwltool.executors.relocateOutputs.__module__)"
    )
    done = run_command("python", "-c", script, "--udss", "--validate", "workflow.cwl")
    assert done.stdout.splitlines()[-1] == "cwl_udss.engine.outputs.relocation", done.stderr
