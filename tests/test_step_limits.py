# SPDX-License-Identifier: Apache-2.0
"""`--udss-limit`, and cwltool's options for it: steps have no more than they ask for."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from commands import Command

from cwl_udss.runtimes.limits import METADATA, NAMES
from cwl_udss.runtimes.proot.landlock import landlock_abi

FILL = "dd if=/dev/zero bs=150M count=1 2>/dev/null | sleep 60"
IMAGE = {"DockerRequirement": {"dockerPull": "busybox:1.36"}}


def write_tool(path: Path, script: str, requirements: dict[str, Any], **fields: Any) -> None:
    tool = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "requirements": requirements,
        "baseCommand": ["sh", "-c", script],
        "inputs": {},
        "outputs": {"out": "stdout"},
        "stdout": "out.txt",
        **fields,
    }
    path.write_text(json.dumps(tool))


def plain(text: str) -> str:
    """A log without colours and line breaks."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


def trace(path: Path) -> dict[str, str]:
    with path.open(newline="") as stream:
        (line,) = csv.DictReader(stream, delimiter="\t")
    return line


@pytest.mark.parametrize("option", ["--strict-memory-limit", "--udss-limit=memory"])
def test_a_step_over_its_memory_fails(run_command: Command, tmp_path: Path, option: str) -> None:
    """Whatever its exit codes mean to the tool."""
    asked = {"ResourceRequirement": {"ramMin": 64}}
    write_tool(tmp_path / "tool.cwl", FILL, {**IMAGE, **asked}, successCodes=[137])
    done = run_command("cwltool", "--udss", option, "--udss-trace-table=trace.tsv", "tool.cwl")
    assert done.returncode == 1
    assert re.search(
        r"killed at its memory limit: it may use 64 MB, which it asks for, and has used "
        r"(\d+ MB|all of that): raise its ramMin",
        plain(done.stderr),
    )
    assert "completed permanentFail" in done.stderr
    assert "Traceback" not in done.stderr
    line = trace(tmp_path / "trace.tsv")
    assert (line["status"], line["exit"]) == ("FAILED", "137")
    assert float(line["peak_rss"].removesuffix(" MB")) >= 64


def test_a_step_within_its_limits(run_command: Command, tmp_path: Path) -> None:
    """Who does not ask has CWL's 256 MiB."""
    script = "dd if=/dev/zero bs=150M count=1 2>/dev/null | (sleep 1; cat >/dev/null); nproc"
    write_tool(tmp_path / "tool.cwl", script, IMAGE)
    options = ("--strict-cpu-limit", "--udss-limit=memory")
    done = run_command("cwltool", "--udss", *options, "tool.cwl")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.txt").read_text() == "1\n"
    done = run_command("cwltool", "--udss", "--udss-limit=no", "tool.cwl")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.txt").read_text() == f"{len(os.sched_getaffinity(0))}\n"


@pytest.mark.parametrize("option", ["--strict-memory-limit", "--udss-limit=memory"])
def test_jobs_have_the_limits_of_the_batch_system(
    run_command: Command, tmp_path: Path, option: str
) -> None:
    write_tool(tmp_path / "tool.cwl", "true", IMAGE)
    done = run_command("cwltool", "--udss", "--udss-batch=slurm", option, "tool.cwl")
    assert done.returncode == 1
    assert "the batch system limits its jobs" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(not landlock_abi(), reason="this kernel has no Landlock")
def test_a_tool_of_this_machine_has_limits_and_figures(
    run_command: Command, tmp_path: Path
) -> None:
    asked = {"ResourceRequirement": {"ramMin": 64}}
    write_tool(tmp_path / "tool.cwl", FILL, asked)
    runtime = ("--udss-runtime=landlock", f"--udss-accept={METADATA.name},{NAMES.name}")
    options = ("--udss-limit=memory", "--udss-trace-table=trace.tsv")
    done = run_command("cwltool", "--udss", *runtime, *options, "tool.cwl")
    assert done.returncode == 1
    assert "killed at its memory limit" in plain(done.stderr)
    line = trace(tmp_path / "trace.tsv")
    assert (line["status"], line["exit"]) == ("FAILED", "137")
    assert float(line["peak_rss"].removesuffix(" MB")) >= 64
