# SPDX-License-Identifier: Apache-2.0
"""Nextflow submits its tasks to Slurm, and our commands run them on nodes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import SCRATCH
from nextflow import Nextflow
from processes import WHERE
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
