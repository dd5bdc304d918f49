# SPDX-License-Identifier: Apache-2.0
"""What a person is told of a job that has ended."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.job import JobBase

from cwl_udss.engine.jobs.wishes import why_over_memory
from cwl_udss.errors import UdssError
from cwl_udss.filesystems.system_words import NO_ROOM, full_places, system_words
from cwl_udss.sandbox import Ending, Result, Sandbox, Usage
from cwl_udss.surroundings.outputs import View, confine, restore_access
from cwl_udss.surroundings.signals import signal_words

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def staging(job: str) -> Iterator[None]:
    """Say of what has failed that it is the job's staging."""
    try:
        yield
    except OSError as error:
        advice = ": --udss-scratch names another place" if error.errno in NO_ROOM else ""
        raise WorkflowException(
            f"[job {job}] its inputs cannot be staged: {system_words(error)}{advice}"
        ) from error


def report_removed(job: str, removed: Collection[str]) -> None:
    """Tell what was taken out of a directory that the step has written to."""
    for line in removed:
        _logger.warning("[job %s] removed %s", job, line)


def report_end(job: str, usage: Usage | None, *, exceeded: float | None) -> None:
    """Tell of the memory, in cwltool's words for a Docker container, and of the time limit, if it
    was exceeded."""
    if usage is not None and usage.memory_bytes is not None:
        mebibytes = round(usage.memory_bytes / (1 << 20))
        _logger.info("[job %s] Max memory used: %iMiB", job, mebibytes)
    if exceeded is not None:
        _logger.warning("[job %s] killed: time limit of %d s", job, exceeded)


def conclude(job: JobBase, destination: str, view: View, sandbox: Sandbox, result: Result) -> None:
    """Make safe what a step has left that knew its output directory as `destination`, and tell of
    that and of what it has used. Raises WorkflowException if that was more memory than it may:
    whatever its exit codes mean, it has failed."""
    removed = confine(job.outdir, destination, view)
    restore_access(job.tmpdir)
    report_removed(job.name, removed)
    report_end(
        job.name,
        result.usage,
        exceeded=job.timelimit if result.ending is Ending.TIME_LIMIT else None,
    )
    if result.ending is Ending.MEMORY_LIMIT and sandbox.memory_limit is not None:
        used = result.usage.memory_bytes if result.usage else None
        raise WorkflowException(why_over_memory(job, sandbox.memory_limit, used))


def report_not_executed(job: str, command: Sequence[str], image: str, reason: str) -> None:
    """Tell why the program could not be executed."""
    name = command[0] if command else ""
    _logger.error("[job %s] %r cannot be executed in %s: %s", job, name, image, reason)


def report_failure(job: str, exit_code: int, kills: int, directories: Collection[Path]) -> None:
    """Tell which signal may have ended a step, and which of its directories is full. `kills` is how
    many processes the kernel has killed for memory meanwhile."""
    full = (
        f"{words}, and it works there: --udss-scratch names another place"
        for words in full_places(directories)
    )
    for words in (signal_words(exit_code, kills), *full):
        if words:
            _logger.warning("[job %s] %s", job, words)


def fail(job: JobBase, error: UdssError, context: RuntimeContext) -> None:
    """End a job as failed before it has run."""
    _logger.error("[job %s] %s", job.name, error, exc_info=context.debug)
    _logger.warning("[job %s] completed permanentFail", job.name)
    if context.rm_tmpdir:
        for directory in (job.stagedir, job.tmpdir):
            if directory is not None:
                shutil.rmtree(directory, ignore_errors=True)
    lock, callback = context.workflow_eval_lock, job.output_callback
    if lock is not None and callback is not None:
        with lock:
            callback({}, "permanentFail")
