# SPDX-License-Identifier: Apache-2.0
"""The stand-in for a PBS cluster does what a real OpenPBS does."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pbs_stand_in import Pbs, serve_pbs

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def pbs(tmp_path: Path) -> Iterator[Pbs]:
    """A cluster a hundred times as fast as a real one."""
    with serve_pbs(tmp_path / "pbs", time_scale=0.01) as cluster:
        yield cluster


@pytest.fixture
def run(pbs: Pbs, tmp_path: Path) -> Run:
    """Run a command of the cluster's in the user's home directory."""

    def run(*command: str, script: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            input=script,
            cwd=tmp_path,
            env={**pbs.environment, "HOME": str(tmp_path), **variables},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


def wait_for(run: Run, job: str, state: str) -> dict[str, Any]:
    """Wait until a job is in a state; return all its attributes."""
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        said = run("qstat", "-E", "-x", "-f", "-F", "json", job)
        found: dict[str, Any] = json.loads(said.stdout)["Jobs"][job]
        if found["job_state"] == state:
            return found
    pytest.fail(f"{job} is {found}")


def test_a_job_ends_with_its_exit_code(run: Run, tmp_path: Path) -> None:
    submitted = run("qsub", "-N", "exit3", script="echo said; echo complained >&2; exit 3")
    assert (submitted.stdout, submitted.returncode) == ("0.pbshead\n", 0)
    job = wait_for(run, "0.pbshead", "F")
    assert (job["Exit_status"], job["substate"], job["Stageout_status"]) == (3, 93, 1)
    assert (tmp_path / "exit3.o0").read_text() == "said\n"
    assert (tmp_path / "exit3.e0").read_text() == "complained\n"
