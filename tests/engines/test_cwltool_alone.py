# SPDX-License-Identifier: Apache-2.0
"""cwltool without our option, as others have it, runs its tools by our commands."""

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

OPTIONS = {
    "docker": (),
    "podman": ("--podman",),
    "singularity": ("--singularity",),
    "udocker": ("--udocker",),
}
TOOL = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "hints": {"DockerRequirement": {"dockerPull": "debian:stable-slim"}},
    "requirements": {
        "EnvVarRequirement": {"envDef": {"GREETING": "$(inputs.word)  world"}},
        "ResourceRequirement": {"ramMin": 200},
    },
    "baseCommand": ["bash", "-c"],
    "arguments": [
        f'cat "$1" - > "copied it"; echo "$GREETING"; {{ {WHERE}; }} >&2; exit 3',
        "bash",
        "$(inputs.text)",
    ],
    "inputs": {"word": "string", "text": "File", "more": "File"},
    "stdin": "$(inputs.more.path)",
    "stdout": "said.txt",
    "stderr": "where.txt",
    "successCodes": [3],
    "outputs": {
        "said": "stdout",
        "where": "stderr",
        "copied": {"type": "File", "outputBinding": {"glob": "copied it"}},
    },
}


@pytest.fixture
def cwltool() -> Path:
    """The command of a cwltool that knows nothing of us."""
    return install("cwltool") / "cwltool"


def run(account: Account, cwltool: Path, directory: Path, *options: str) -> dict[str, Any]:
    directory.mkdir()
    (directory / "tool.cwl").write_text(json.dumps(TOOL))
    for name in ("a text", "more"):
        (directory / name).write_text(f"this is {name}\n")
    inputs = ("--word", "two words", "--text", "a text", "--more", "more")
    options = (*options, "--strict-memory-limit", "--relax-path-checks")
    command = (cwltool, *options, "tool.cwl", *inputs)
    done = account.succeed(*command, cwd=directory)
    outputs = json.loads(done.stdout)
    return {name: Path(file["path"]).read_text() for name, file in outputs.items()}


@pytest.mark.parametrize("engine", OPTIONS)
def test_results_are_those_of_a_run_without_containers(
    account: Account, cwltool: Path, tmp_path: Path, engine: str
) -> None:
    outside = run(account, cwltool, tmp_path / "plain", "--no-container")
    inside = run(account, cwltool, tmp_path / "contained", *OPTIONS[engine])
    assert (outside.pop("where"), inside.pop("where")) == ("outside\n", "contained\n")
    assert inside == outside


CANCELLED = {
    "docker": (signal.SIGTERM, "7016.25"),
    "podman": (signal.SIGKILL, "7016.5"),
    "singularity": (signal.SIGTERM, "7016.75"),
    "udocker": (signal.SIGINT, "7017.25"),
}


@pytest.mark.parametrize("engine", CANCELLED)
def test_a_cancelled_run_leaves_nothing(
    account: Account, cwltool: Path, tmp_path: Path, engine: str
) -> None:
    number, seconds = CANCELLED[engine]
    tool = {
        **{name: TOOL[name] for name in ("cwlVersion", "class", "hints")},
        "arguments": ["bash", "-c", f"(sleep {seconds} &); sleep {seconds}"],
        "inputs": {},
        "outputs": {},
    }
    (tmp_path / "tool.cwl").write_text(json.dumps(tool))
    with account.started(cwltool, *OPTIONS[engine], "tool.cwl", cwd=tmp_path) as process:
        wait_until(lambda: len(sleeping(seconds)) == 2)
        # A terminal sends its signals to all; who kills a batch job does it, too.
        (os.kill if number is signal.SIGTERM else os.killpg)(process.pid, number)
        process.wait(40)
        assert remaining(seconds) == []
    assert account.left() == []
