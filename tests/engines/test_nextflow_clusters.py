# SPDX-License-Identifier: Apache-2.0
"""Nextflow submits its tasks to Slurm or PBS, and our commands run them on nodes."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import wait_until
from mortal import remaining
from needs import SCRATCH
from nextflow import Nextflow
from pbs_stand_in import PbsNode, PbsTimes, serve_pbs
from processes import WHERE, sleeping
from slurm import Slurm, serve_slurm

PIPELINE = '''\
workflow { SMALL(Channel.of('one', 'two', 'three')) | view }

process SMALL {
    cpus 1
    memory '200 MB'
    time '5m'
    input: val word
    output: stdout
    script: """echo this is $word; $params.where"""
}
'''
# What a person would have to wait for with the defaults, which are for large clusters.
QUICK = "executor { queueStatInterval = '1s'; pollInterval = '1s'; exitReadTimeout = '20s' }\n"


@pytest.fixture(scope="module")
def slurm(nextflow: Nextflow) -> Iterator[Slurm]:
    """A cluster whose nodes know the account."""
    # Its sockets need a short path.
    directory = Path(tempfile.mkdtemp(prefix="c", dir=SCRATCH))
    try:
        with serve_slurm(directory, cpus=4, passwd=nextflow.account.passwd) as slurm:
            yield slurm
    finally:
        shutil.rmtree(directory)


@pytest.mark.parametrize("engine", ["podman", "apptainer"])
def test_tasks_are_jobs(nextflow: Nextflow, slurm: Slurm, tmp_path: Path, engine: str) -> None:
    account = nextflow.account
    (tmp_path / "main.nf").write_text(PIPELINE)
    # A node need not have them in PATH, as with batch systems that pass no environment on.
    path = f"process.beforeScript = 'export PATH=\"{account.shims}\":$PATH'\n"
    engine_lines = f"process.container = 'quay.io/nextflow/bash'\n{engine}.enabled = true\n"
    executor = f"process.executor = 'slurm'\n{QUICK}"
    (tmp_path / "nextflow.config").write_text(engine_lines + path + executor)
    done = account.succeed(
        *nextflow.command("main.nf", f"--where={WHERE}"),
        cwd=tmp_path,
        variables={**nextflow.variables, **slurm.environment},
    )
    assert done.stdout.count("this is") == 3
    assert done.stdout.count("contained") == 3
    jobs = slurm.run("squeue", "--noheader", "--states=all", "--format=%Z %T").splitlines()
    assert [job.split()[1] for job in jobs if str(tmp_path) in job] == ["COMPLETED"] * 3


SLEEPING = "7021.25"
CANCELLED = f"""\
workflow {{ SLEEP(Channel.of('one', 'two')) }}

process SLEEP {{
    cpus 1
    memory '200 MB'
    time '5m'
    input: val word
    script: "(sleep {SLEEPING} &); sleep {SLEEPING}"
}}
"""


def test_a_cancelled_run_leaves_nothing_on_nodes(
    nextflow: Nextflow, slurm: Slurm, tmp_path: Path
) -> None:
    account = nextflow.account
    (tmp_path / "main.nf").write_text(CANCELLED)
    path = f"process.beforeScript = 'export PATH=\"{account.shims}\":$PATH'\n"
    engine = "process.container = 'quay.io/nextflow/bash'\npodman.enabled = true\n"
    executor = f"process.executor = 'slurm'\n{QUICK}"
    (tmp_path / "nextflow.config").write_text(engine + path + executor)
    variables = {**nextflow.variables, **slurm.environment}
    command = nextflow.command("main.nf")
    with account.started(*command, cwd=tmp_path, variables=variables) as run:
        wait_until(lambda: len(sleeping(SLEEPING)) == 4)
        run.send_signal(signal.SIGTERM)
        run.wait(30)
        assert remaining(SLEEPING) == []
    assert account.left() == []


def test_tasks_are_jobs_of_pbs(nextflow: Nextflow, tmp_path: Path) -> None:
    """Which passes no environment on, and has jobs begin in the home directory."""
    account = nextflow.account
    (tmp_path / "main.nf").write_text(PIPELINE)
    login = f'export HOME="{account.home}" PATH="{account.shims}":$PATH'
    lines = (
        "process.container = 'quay.io/nextflow/bash'",
        "podman.enabled = true",
        f"process.beforeScript = '{login}'",
        "process.executor = 'pbspro'",
        "process.queue = 'workq'",
    )
    (tmp_path / "nextflow.config").write_text("".join(f"{line}\n" for line in lines) + QUICK)
    times = PbsTimes().scaled(0.01)
    with serve_pbs(tmp_path / "pbs", nodes=(PbsNode(name="node"),), times=times) as pbs:
        done = account.succeed(
            *nextflow.command("main.nf", f"--where={WHERE}"),
            cwd=tmp_path,
            variables={**nextflow.variables, "PATH": account.path(pbs.programs)},
        )
        assert pbs.counts()["started"] == 3
    assert done.stdout.count("this is") == 3
    assert done.stdout.count("contained") == 3
