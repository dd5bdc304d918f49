# SPDX-License-Identifier: Apache-2.0
"""miniwdl runs WDL tasks by our commands."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from accounts import Account
from clients import install
from clusters import wait_until
from mortal import remaining
from processes import WHERE, sleeping

WDL = f"""\
version 1.0

workflow two_tasks {{
    input {{ File text }}
    call shout {{ input: text = text }}
    call count {{ input: text = shout.shouted }}
    output {{
        Int words = count.words
        File shouted = shout.shouted
        String where = count.where
    }}
}}

task shout {{
    input {{ File text }}
    command <<<
        tr a-z A-Z < "~{{text}}" > "shouted text"
    >>>
    output {{ File shouted = "shouted text" }}
    runtime {{ docker: "debian:stable-slim" }}
}}

task count {{
    input {{ File text }}
    command <<<
        wc -w < "~{{text}}"
        {{ {WHERE}; }} > where
    >>>
    output {{
        Int words = read_int(stdout())
        String where = read_string("where")
    }}
    runtime {{ docker: "debian:stable-slim" cpu: 1 memory: "200M" }}
}}
"""
SLEEP = """\
version 1.0
task asleep {
    command <<<
        (sleep %s &); sleep %s
    >>>
    runtime { docker: "debian:stable-slim" }
}
"""
BACKENDS = ("singularity", "podman", "udocker")


@pytest.fixture
def miniwdl() -> Path:
    """The command of miniwdl."""
    return install("miniwdl") / "miniwdl"


def variables_of(backend: str) -> dict[str, str]:
    own = {"MINIWDL__SCHEDULER__CONTAINER_BACKEND": backend}
    # It would have podman by sudo, and udocker as root.
    return {**own, f"MINIWDL__{backend.upper()}__EXE": json.dumps([backend])}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_workflow(account: Account, miniwdl: Path, tmp_path: Path, backend: str) -> None:
    (tmp_path / "two_tasks.wdl").write_text(WDL)
    (tmp_path / "some text").write_text("three small words\n")
    done = account.succeed(
        *(miniwdl, "run", "two_tasks.wdl", "text=some text", "--no-color"),
        cwd=tmp_path,
        variables=variables_of(backend),
    )
    outputs = json.loads(done.stdout)["outputs"]
    assert Path(outputs["two_tasks.shouted"]).read_text() == "THREE SMALL WORDS\n"
    assert outputs["two_tasks.words"] == 3
    assert outputs["two_tasks.where"] == "contained"


CANCELLED = {"singularity": "7019.25", "podman": "7019.5"}


@pytest.mark.parametrize("backend", CANCELLED)
def test_a_cancelled_run_leaves_nothing(
    account: Account, miniwdl: Path, tmp_path: Path, backend: str
) -> None:
    seconds = CANCELLED[backend]
    (tmp_path / "asleep.wdl").write_text(SLEEP % (seconds, seconds))
    command = (miniwdl, "run", "asleep.wdl")
    with account.started(*command, cwd=tmp_path, variables=variables_of(backend)) as process:
        wait_until(lambda: len(sleeping(seconds)) == 2)
        os.kill(process.pid, signal.SIGTERM)
        process.wait(40)
        assert remaining(seconds) == []
    assert account.left() == []
