# SPDX-License-Identifier: Apache-2.0
"""StreamFlow keeps a container for a whole run, and has commands run in it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from accounts import Account
from clients import install
from clusters import wait_until
from mortal import remaining
from processes import WHERE, sleeping

IMAGE = "quay.io/nextflow/bash"
# Singularity shows the host's /tmp, in which another's is nobody else's.
PLACE = f"/tmp/streamflow-{os.getuid()}"
IMAGES = {"docker": IMAGE, "singularity": f"docker://{IMAGE}"}
TOOL = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "arguments": ["bash", "-c", f'cat "$1"; {{ {WHERE}; }} >&2', "bash", "$(inputs.text)"],
    "inputs": {"text": "File"},
    "stdout": "said.txt",
    "stderr": "where.txt",
    "outputs": {"said": "stdout", "where": "stderr"},
}


def write(directory: Path, connector: str, tool: dict[str, Any], job: dict[str, Any]) -> None:
    """Write a workflow of one tool, and where it runs."""
    streamflow = {
        "version": "v1.0",
        "workflows": {
            "one": {
                "type": "cwl",
                "config": {"file": "tool.cwl", "settings": "job.json"},
                "bindings": [{"step": "/", "target": {"deployment": "box", "workdir": PLACE}}],
            }
        },
        "deployments": {"box": {"type": connector, "config": {"image": IMAGES[connector]}}},
    }
    for name, content in {"tool.cwl": tool, "job.json": job, "streamflow.yml": streamflow}.items():
        (directory / name).write_text(json.dumps(content))


@pytest.fixture
def command(tmp_path: Path) -> list[str | Path]:
    """What is typed, by a person whose streamflow/ in $TMPDIR is nobody else's."""
    (tmp_path / "temporary").mkdir()
    program = install("streamflow") / "streamflow"
    variable = f"TMPDIR={tmp_path / 'temporary'}"
    return ["env", variable, program, "run", "streamflow.yml", "--outdir", "out"]


@pytest.mark.parametrize("connector", IMAGES)
def test_a_tool(
    account: Account, command: list[str | Path], tmp_path: Path, connector: str
) -> None:
    (tmp_path / "text").write_text("a text\n")
    write(tmp_path, connector, TOOL, {"text": {"class": "File", "path": "text"}})
    account.succeed(*command, cwd=tmp_path)
    results = {name: (tmp_path / "out" / f"{name}.txt").read_text() for name in ("said", "where")}
    assert results == {"said": "a text\n", "where": "contained\n"}
    assert account.left() == []


def test_a_cancelled_run_leaves_nothing(
    account: Account, command: list[str | Path], tmp_path: Path
) -> None:
    seconds = "7020.25"
    arguments = ["bash", "-c", f"(sleep {seconds} &); sleep {seconds}"]
    tool = {**TOOL, "arguments": arguments, "inputs": {}, "outputs": {}}
    write(tmp_path, "docker", tool, {})
    with account.started(*command, cwd=tmp_path) as process:
        wait_until(lambda: len(sleeping(seconds)) == 2)
        # At INT it stops its container; at TERM it leaves that running, whoever's it is.
        os.kill(process.pid, signal.SIGINT)
        process.wait(40)
        assert remaining(seconds) == []
    assert account.left() == []
