# SPDX-License-Identifier: Apache-2.0
"""What cwltool does for each step of a scatter, at a cost that does not grow with their number.

What is here stands in for functions of cwltool (3.1 to 3.3), and does what they do: the tests
compare the two.
"""

from __future__ import annotations

import copy
import functools
import heapq
import sys
from collections.abc import Callable
from typing import Any

import cwltool.builder
import cwltool.command_line_tool
import cwltool.executors
import cwltool.process
import cwltool.utils
import cwltool.workflow_job
from cwltool.context import RuntimeContext, getdefault
from cwltool.errors import WorkflowException
from cwltool.loghandler import _logger
from cwltool.utils import JobsGeneratorType
from cwltool.workflow_job import ReceiveScatterOutput
from ruamel.yaml.comments import CommentedSeq

from cwl_udss.engine.outputs.listing import get_listing
from cwl_udss.engine.outputs.literals import check_valid_locations, compute_checksums, revmap_file
from cwl_udss.engine.outputs.names import UniqueNames
from cwl_udss.engine.outputs.relocation import put_outputs


def straighten_cwltool() -> None:
    """Put what is here where cwltool looks its own up."""
    unique_name = UniqueNames(cwltool.process._names)
    for module, name, replacement in (
        (cwltool.command_line_tool, "uniquename", unique_name),
        (cwltool.workflow_job, "uniquename", unique_name),
        (cwltool.workflow_job, "parallel_steps", scatter_jobs),
        (cwltool.executors, "relocateOutputs", put_outputs),
        *(
            (cwltool.command_line_tool, function.__name__, function)
            for function in (revmap_file, check_valid_locations, compute_checksums)
        ),
        (cwltool.utils, "get_listing", get_listing),  # for modules that are imported later
        (cwltool.builder, "get_listing", get_listing),
        (cwltool.command_line_tool, "get_listing", get_listing),
        (cwltool.process, "get_listing", get_listing),
        (cwltool.workflow_job, "get_listing", get_listing),
        (CommentedSeq, "__deepcopy__", copy_sequence),
    ):
        setattr(module, name, replacement)


def pace_scatters(most: int) -> None:
    """Have no more jobs of a scatter made than so many ahead of those that have ended.

    A job that waits has three directories and some 50 KB, and while jobs are made, none can end:
    it needs the lock that is held.
    """
    vars(cwltool.workflow_job)["parallel_steps"] = functools.partial(scatter_jobs, most=most)


def copy_sequence(sequence: CommentedSeq, memo: dict[int, Any]) -> CommentedSeq:
    """Copy a list of a YAML document, and the positions of its items once.

    ruamel.yaml copies them with each item (https://sourceforge.net/p/ruamel-yaml/tickets/513): most
    of what cwltool did for a scatter over an array of the input object.
    """
    copied = CommentedSeq()
    memo[id(sequence)] = copied
    for item in sequence:
        copied.append(copy.deepcopy(item, memo))
    sequence.copy_attributes(copied, memo=memo)
    return copied


def scatter_jobs(
    steps: list[JobsGeneratorType | None],
    receiver: ReceiveScatterOutput,
    context: RuntimeContext,
    most: int = sys.maxsize,
) -> JobsGeneratorType:
    """Yield the jobs of a scatter, and None when there is none before another has ended. While
    `most` jobs have not, no step is asked for more.

    cwltool.workflow_job.parallel_steps asks all steps from the first on for each job. Here those
    are asked that have not been, or of which a job has ended since.
    """
    stops = getdefault(context.on_error, "stop") == "stop"

    def has_failed() -> bool:
        return stops and receiver.processStatus not in ("success", "skipped")

    turns = _Turns(steps)
    while receiver.completed < receiver.total:
        turn = None if has_failed() or turns.running >= most else turns.next()
        if turn is None:
            yield None
            turns.wake_all()
            continue
        index, step = turn
        try:
            for job in step:
                if has_failed():
                    break
                if job is None:
                    turns.wait(index, step)
                    break
                turns.expect(index, job)
                yield job
        except WorkflowException as error:
            _logger.error("Cannot make scatter job: %s", error)
            _logger.debug("", exc_info=True)
            receiver.receive_scatter_output(index, {}, "permanentFail")


class _Turns:
    """Whose turn it is among the steps of a scatter: the first of those that may have a job."""

    def __init__(self, steps: list[JobsGeneratorType | None]) -> None:
        self._new = ((index, step) for index, step in enumerate(steps) if step is not None)
        self._waiting: dict[int, JobsGeneratorType] = {}
        self._woken: list[int] = []  # a heap
        self.running = 0

    def next(self) -> tuple[int, JobsGeneratorType] | None:
        """Return a step, with its number, that is to be asked for jobs."""
        while self._woken:
            index = heapq.heappop(self._woken)
            step = self._waiting.pop(index, None)
            if step is not None:
                return index, step
        return next(self._new, None)

    def wait(self, index: int, step: JobsGeneratorType) -> None:
        """Note that a step has no job before one that it has given has ended."""
        self._waiting[index] = step

    def expect(self, index: int, job: Any) -> None:
        """Have a step asked again when this job of its has ended."""
        callback = getattr(job, "output_callback", None)
        if callback is not None:  # else it is a workflow, whose jobs come one by one
            self.running += 1
            job.output_callback = functools.partial(self._end, index, callback)

    def _end(self, index: int, callback: Callable[..., None], *outcome: Any) -> None:
        self.running -= 1
        heapq.heappush(self._woken, index)
        self.wake_all()
        callback(*outcome)

    def wake_all(self) -> None:
        """Have all asked again if no job is left that could wake them: a workflow that has failed
        may wait for the jobs of others (see workflow.PatientWorkflowJob)."""
        if not self.running:
            self._woken = sorted({*self._woken, *self._waiting})
