# SPDX-License-Identifier: Apache-2.0
"""How a step has ended that was a job, by what its directory has."""

from __future__ import annotations

import contextlib
from pathlib import Path

from cwl_udss.batch.run_directory import read_end
from cwl_udss.batch.systems.system import Resources
from cwl_udss.report.record import SAID_BYTES, Asked, Ran, Times
from cwl_udss.steps.spec import (
    JOB,
    OUTPUTS,
    STDERR,
    StepResult,
    UnreadableStep,
    read_result,
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


def _result(directory: Path) -> StepResult | None:
    with contextlib.suppress(UnreadableStep):
        return read_result(directory)
    return None


def _submitted(directory: Path) -> float | None:
    """When its job was, which is written down at that moment."""
    with contextlib.suppress(OSError):
        return (directory / JOB).stat().st_mtime
    return None
