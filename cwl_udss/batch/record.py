# SPDX-License-Identifier: Apache-2.0
"""How a step has ended that was a job, and what a run has done, by what their directories have."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from cwl_udss.batch.run_directory import read_end
from cwl_udss.batch.systems.system import Resources
from cwl_udss.report.journal import JOURNAL, read_journal
from cwl_udss.report.record import SAID_BYTES, Asked, Ran, Status, StepRecord, Times
from cwl_udss.report.run import Node, Run
from cwl_udss.steps.spec import (
    JOB,
    OUTPUTS,
    STDERR,
    StepResult,
    UnreadableStep,
    read_result,
    read_spec,
    read_started,
    read_submitted,
)

_MEBIBYTE = 1 << 20


def asked_of(resources: Resources) -> Asked:
    """Return what a job has asked for."""
    memory, walltime = resources.memory, resources.walltime
    return Asked(
        cores=resources.cores,
        memory_bytes=None if memory is None else memory * _MEBIBYTE,
        seconds=walltime,
    )


def read_ran(
    directory: Path,
    *,
    asked: Asked | None,
    ending: str = "",
    stderr: str | None = None,
    is_cached: bool = False,
) -> Ran:
    """Return how a step has ended. `ending` is why, if its node does not know, or was wrong;
    `stderr` is where in its output directory the tool's standard error is, if it is there."""
    result = _result(directory)
    node, job, started = "", "", None
    with contextlib.suppress(UnreadableStep):
        begun = read_started(directory)
        node, job, started = begun.node, begun.job, begun.time
    with contextlib.suppress(UnreadableStep):
        job = job or read_submitted(directory / JOB).job
    said = directory / STDERR if stderr is None else directory / OUTPUTS / stderr
    return Ran(
        exit_code=result.exit_code if result and not ending else None,
        ending=ending or (result.ending.value if result else ""),
        node=node,
        native_id=job,
        times=Times(
            submitted=_submitted(directory),
            started=result.started if result else started,
            ended=result.ended if result else None,
        ),
        usage=result.usage if result else None,
        asked=asked,
        directory=str(directory),
        said="" if result and not result.exit_code else read_end(said, SAID_BYTES),
        key=directory.name.rpartition(".")[0].rpartition(".")[2],
        is_cached=is_cached,
    )


def read_run(directory: Path) -> Run:
    """Return what a run has done until now: what its drivers have told, and what else its steps'
    directories have. Raises UnreadableRun."""
    begin, records, end = read_journal(directory / JOURNAL)
    told = {record.ran.directory for record in records}
    try:
        names = sorted(os.listdir(directory / "steps"))
    except OSError:
        names = []
    for name in names:
        path = directory / "steps" / name
        if str(path) not in told:
            records.append(_untold(path, len(records) + 1, begin.nodes))
    return Run(begin=begin, steps=records, end=end, now=time.time())


def _untold(directory: Path, number: int, nodes: Sequence[Node]) -> StepRecord:
    """A step of which no driver has told: it waits, runs, or has ended after its driver had."""
    ran = read_ran(directory, asked=None)
    job = directory.name.partition(".")[0]
    step, index = _step_of(job, nodes)
    status = Status.SUBMITTED if ran.times.started is None else Status.RUNNING
    if ran.ending:
        status = Status.COMPLETED if ran.exit_code == 0 else Status.FAILED
    image, asked = "", Asked()
    with contextlib.suppress(UnreadableStep):
        spec = read_spec(directory)
        image = spec.image.described
        asked = Asked(cores=spec.cores, seconds=spec.time_limit)
    return StepRecord(
        number=number,
        step=step,
        index=index,
        job=job,
        tool="",
        status=status,
        asked=asked,
        image="",
        digest=image,
        command=(),  # which may have a secret
        problem="",
        ran=ran,
    )


def _step_of(job: str, nodes: Sequence[Node]) -> tuple[str, int | None]:
    """Which step a job is of, and which of its jobs, by cwltool's name: of the second `align_2`."""
    named = {re.sub(r"[^A-Za-z0-9_-]", "_", node.path.rpartition("/")[2]): node for node in nodes}
    stem, _, number = job.rpartition("_")
    node = named.get(job) or (named.get(stem) if number.isdecimal() else None)
    if node is None:
        return job, None
    index = 1 if job in named else int(number)
    return node.path, index if node.is_scattered else None


def _result(directory: Path) -> StepResult | None:
    with contextlib.suppress(UnreadableStep):
        return read_result(directory)
    return None


def _submitted(directory: Path) -> float | None:
    """When its job was, which is written down at that moment."""
    with contextlib.suppress(OSError):
        return (directory / JOB).stat().st_mtime
    return None
