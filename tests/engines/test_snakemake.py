# SPDX-License-Identifier: Apache-2.0
"""Snakemake runs its rules by our `apptainer`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from accounts import Account
from clients import install
from clusters import wait_until
from mortal import remaining
from processes import WHERE, sleeping

IMAGE = "docker://python:3-slim"
SNAKEFILE = f"""\
container: "{IMAGE}"

rule all:
    input: "counted.txt", "scripted.txt", "shadowed.txt", "where.txt"

rule count:
    input: "in put.txt"
    output: "counted.txt"
    shell: "wc -w < {{input:q}} > {{output}}; echo $GREETING >> {{output}}"

rule script:
    input: "counted.txt"
    output: "scripted.txt"
    script: "scripted.py"

rule shadowed:
    input: "counted.txt"
    output: "shadowed.txt"
    shadow: "minimal"
    shell: "cat {{input}} > scrap; test ! -e Snakefile; cat scrap scrap > {{output}}"

rule where:
    output: "where.txt"
    shell: "{{{{ {WHERE}; }}}} > {{output}}"
"""
SCRIPT = """\
text = open(snakemake.input[0]).read()
open(snakemake.output[0], "w").write(text.upper())
"""


@pytest.fixture
def snakemake() -> Path:
    """The command of a real Snakemake."""
    return install("snakemake") / "snakemake"


def write_workflow(directory: Path) -> None:
    directory.mkdir()
    (directory / "Snakefile").write_text(SNAKEFILE)
    (directory / "scripted.py").write_text(SCRIPT)
    (directory / "in put.txt").write_text("three small words\n")


def results(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.glob("*ed.txt")}


def test_results_are_those_of_a_run_without_containers(
    account: Account, snakemake: Path, tmp_path: Path
) -> None:
    plain, contained = tmp_path / "plain", tmp_path / "contained"
    for directory, options in ((plain, ()), (contained, ("--sdm", "apptainer"))):
        write_workflow(directory)
        account.succeed(
            *(snakemake, "--cores", "2", *options),
            cwd=directory,
            variables={"GREETING": "hello  world"},
        )
    assert len(results(plain)) == 3
    assert results(contained) == results(plain)
    places = [(directory / "where.txt").read_text() for directory in (plain, contained)]
    assert places == ["outside\n", "contained\n"]


def test_a_cancelled_run_leaves_nothing(account: Account, snakemake: Path, tmp_path: Path) -> None:
    seconds = "7015.25"
    rule = (
        f'rule all:\n    container: "{IMAGE}"\n    shell: "(sleep {seconds} &); sleep {seconds}"\n'
    )
    (tmp_path / "Snakefile").write_text(rule)
    with account.started(snakemake, "-c1", "--sdm", "apptainer", cwd=tmp_path) as run:
        wait_until(lambda: len(sleeping(seconds)) == 2)
        # As a terminal does it: Snakemake itself sends its jobs no signal, and waits for them.
        os.killpg(run.pid, signal.SIGINT)
        run.wait(30)
        assert remaining(seconds) == []
    assert account.left() == []
