# SPDX-License-Identifier: Apache-2.0
"""Toil runs CWL tools by our commands."""

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

OPTIONS = {"docker": (), "podman": ("--podman",), "singularity": ("--singularity",)}
HEAD = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "hints": {"DockerRequirement": {"dockerPull": "debian:stable-slim"}},
    # What Toil would have is more than machines of tests may have.
    "requirements": {"ResourceRequirement": {"coresMin": 1, "ramMin": 100}},
}
TOOL = {
    **HEAD,
    "arguments": ["bash", "-c", f'cat "$1"; {{ {WHERE}; }} >&2', "bash", "$(inputs.text)"],
    "inputs": {"text": "File"},
    "stdout": "said.txt",
    "stderr": "where.txt",
    "outputs": {"said": "stdout", "where": "stderr"},
}


@pytest.fixture
def toil() -> Path:
    """The directory of Toil's commands, which call each other."""
    return install("toil")


def options_of(directory: Path, engine: str) -> tuple[str | Path, ...]:
    store = ("--jobStore", directory / "jobs", "--workDir", directory)
    return (*OPTIONS[engine], *store, "--retryCount", "0", "--defaultMemory", "100M")


@pytest.mark.parametrize("engine", OPTIONS)
def test_a_tool(account: Account, toil: Path, tmp_path: Path, engine: str) -> None:
    (tmp_path / "tool.cwl").write_text(json.dumps(TOOL))
    (tmp_path / "text").write_text("a text\n")
    options = options_of(tmp_path, engine)
    done = account.succeed(
        *(toil / "toil-cwl-runner", *options, "tool.cwl", "--text", "text"),
        cwd=tmp_path,
        variables={"PATH": account.path(toil)},
    )
    outputs: dict[str, Any] = json.loads(done.stdout)
    results = {name: Path(file["location"][7:]).read_text() for name, file in outputs.items()}
    assert results == {"said": "a text\n", "where": "contained\n"}


CANCELLED = {"podman": "7018.25", "singularity": "7018.5"}


@pytest.mark.parametrize("engine", CANCELLED)
def test_a_cancelled_run_leaves_nothing(
    account: Account, toil: Path, tmp_path: Path, engine: str
) -> None:
    seconds = CANCELLED[engine]
    arguments = ["bash", "-c", f"(sleep {seconds} &); sleep {seconds}"]
    tool = {**HEAD, "arguments": arguments, "inputs": {}, "outputs": {}}
    (tmp_path / "tool.cwl").write_text(json.dumps(tool))
    options = options_of(tmp_path, engine)
    command = (toil / "toil-cwl-runner", *options, "tool.cwl")
    variables = {"PATH": account.path(toil)}
    with account.started(*command, cwd=tmp_path, variables=variables) as process:
        wait_until(lambda: len(sleeping(seconds)) == 2)
        os.kill(process.pid, signal.SIGTERM)
        process.wait(40)
        assert remaining(seconds) == []
    assert account.left() == []
