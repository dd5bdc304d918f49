# SPDX-License-Identifier: Apache-2.0
"""The steps of a run as jobs: submitted, waited for, tried again, found again by a later driver."""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from cwl_udss.batch.backend import Backend, StepRequest
from cwl_udss.batch.outcome import JobFacts, Kind, Outcome, is_tried_again, judge, scaled
from cwl_udss.batch.poller import SHARED_NEWS_SECONDS, SHORTEST_LOOK_SECONDS, JobEnd
from cwl_udss.batch.run_directory import Entry, RunDirectory, last_line, read_end
from cwl_udss.batch.systems.system import BatchError, Cause, Placement, Resources
from cwl_udss.machine.waiting import told
from cwl_udss.report.trace import traced
from cwl_udss.staging import remove_tree
from cwl_udss.steps.spec import (
    OUTPUTS,
    STARTED,
    StepEnding,
    StepResult,
    StepSpec,
    UnreadableStep,
    read_result,
)

_logger = logging.getLogger(__name__)

_LOG_BYTES = 4096
_LONGEST_JOB_NAME = 60
_MOST_LOOKED_AT = 100


@dataclass(frozen=True, kw_only=True)
class Wish:
    """How a step wants to be run."""

    resources: Resources
    placement: Placement
    name_prefix: str
    retries: int
    retry_scale: float


@dataclass(frozen=True, kw_only=True)
class FinishedStep:
    """A step that has ended by itself."""

    directory: Path
    result: StepResult
    resources: Resources
    """What its job has asked for."""
    is_earlier: bool = False
    """An earlier driver has had it run."""

    @property
    def outputs(self) -> Path:
        """Its output directory."""
        return self.directory / OUTPUTS


class StepLost(BatchError):
    """A step has not ended by itself."""

    def __init__(
        self, problem: str, advice: str, directory: Path, kind: Kind, resources: Resources
    ) -> None:
        super().__init__(problem, advice)
        self.directory = directory
        self.kind = kind
        self.resources = resources


class BatchSteps:
    """Runs steps on nodes, for any number of threads, one for each step."""

    def __init__(self, backend: Backend, run: RunDirectory) -> None:
        self._backend = backend
        self._run = run
        self._stop = threading.Event()
        self._waiting: dict[Path, str] = {}
        """The names of steps of which nobody has seen yet that they have begun, by directory."""
        self._again: list[str] = []

    def run(
        self,
        spec: StepSpec,
        staged: Path,
        key: str | None,
        wish: Wish,
        *,
        is_secret: bool,
        is_success: Callable[[int], bool],
        temporary_codes: Iterable[int],
    ) -> FinishedStep:
        """Run a step to its end; `staged` is what its output directory begins with, and is moved
        away. `key` finds the step again in a later run, if it has one. What is secret is not kept.

        Raises StepLost, with what has happened and what to do, if it has not ended by itself.
        """
        if key is not None:
            finished = self._earlier(spec.name, key, wish, is_success)
            if finished is not None:
                remove_tree(staged)
                return finished
        tried = 0
        while True:
            entry = self._run.add(spec.name, key or secrets.token_hex(32), spec, staged)
            self._waiting[entry.path] = spec.name
            try:
                outcome = self._attempt(entry, wish)
            finally:
                self._waiting.pop(entry.path, None)
                if is_secret:
                    entry.spec.unlink()
            may_retry = tried < wish.retries and not self._stop.is_set()
            if not may_retry or not is_tried_again(
                outcome, temporary_codes, is_scaled=wish.retry_scale > 1
            ):
                finished = self._finished(entry, outcome, wish.resources)
                if is_success(finished.result.exit_code):
                    remove_tree(entry.staged)
                return finished
            tried += 1
            self._again.append(spec.name)
            staged = entry.staged
            _logger.warning(
                "[job %s] %s; trying again (%d of %d)",
                spec.name,
                outcome.message or "has failed for now",
                tried,
                wish.retries,
            )
            wish = replace(wish, resources=scaled(wish.resources, outcome.kind, wish.retry_scale))

    def stop(self) -> None:
        """End all that runs, and let nothing more begin."""
        self._stop.set()
        self._backend.stop()

    def remaining(self) -> list[str]:
        """Return what is not known to have ended, for people."""
        return self._backend.remaining()

    def describe(self) -> str:
        """Say how it stands with what has not ended, for people; "" if there is nothing."""
        return self._backend.describe()

    def tried_again(self) -> list[str]:
        """Return the names of steps that wait again since this was asked before."""
        names, self._again = self._again, []
        return names

    def begun(self) -> list[str]:
        """Return the names of steps that have begun to run since this was asked before. Of many
        only some are looked at each time: it costs a question to a file server."""
        names = []
        for path in list(self._waiting)[:_MOST_LOOKED_AT]:
            name = self._waiting.pop(path, None)
            if name is None:
                continue  # it has ended just now
            if (path / STARTED).exists():
                names.append(name)
            else:
                self._waiting[path] = name
        return names

    def _attempt(self, entry: Entry, wish: Wish) -> Outcome:
        request = StepRequest(
            name=_job_name(wish.name_prefix, entry),
            resources=wish.resources,
            placement=wish.placement,
        )
        while True:
            if self._stop.is_set():
                raise BatchError("the run was interrupted before this step was submitted")
            with traced("submit", _step_name(entry)):
                waiting = self._backend.submit(entry, request)
            if waiting.job:
                _logger.info(
                    "[job %s] is %s job %s", _step_name(entry), self._backend.name, waiting.job
                )
            with traced("run", _step_name(entry)):
                end = waiting.wait()
            if not self._is_left_over(entry, end):
                facts = JobFacts(
                    asked=wish.resources,
                    system=self._backend.name,
                    in_log=self._backend.cause_in_log(read_end(entry.log, _LOG_BYTES)),
                    has_begun=(entry.path / STARTED).exists(),
                )
                return judge(end, facts)
            _logger.info("[job %s] its job has ended before its turn came", _step_name(entry))

    def _is_left_over(self, entry: Entry, end: JobEnd) -> bool:
        """Whether a step's turn in a job of several never came, for no fault of its own."""
        job = self._run.job(entry)
        if end.result is not None or job is None or job.position == 0:
            return False
        is_meant = end.status is not None and end.status.cause in (Cause.DELETED, Cause.NEVER_RAN)
        return not is_meant and not (entry.path / STARTED).exists()

    def _finished(self, entry: Entry, outcome: Outcome, resources: Resources) -> FinishedStep:
        if outcome.kind is Kind.TOOL and outcome.result is not None:
            _await_outputs(entry, outcome.result)
            return FinishedStep(directory=entry.path, result=outcome.result, resources=resources)
        last = last_line(entry.log)
        said = f"; its log ends with: {last}" if last and outcome.kind is Kind.LOST else ""
        raise StepLost(
            f"step {_step_name(entry)} {outcome.message}{said}",
            f"see {entry.path}",
            entry.path,
            outcome.kind,
            resources,
        )

    def _earlier(
        self, name: str, key: str, wish: Wish, is_success: Callable[[int], bool]
    ) -> FinishedStep | None:
        """The step as an earlier driver has had it run, or has it still running."""
        while (entry := self._run.earlier(key)) is not None:
            waiting = self._backend.running(entry, _job_name(wish.name_prefix, entry))
            if waiting is not None:
                _logger.info("[job %s] is still %s job %s", name, self._backend.name, waiting.job)
                self._waiting[entry.path] = name
                waiting.wait()
                self._waiting.pop(entry.path, None)
            with contextlib.suppress(UnreadableStep):
                result = read_result(entry.path)
                self._run.mark_seen(entry.name)
                self._run.moves.put_back(entry.path / OUTPUTS, result.outputs)
                if _is_whole(entry, result) and is_success(result.exit_code):
                    _logger.info("[job %s] result of an earlier run: %s", name, entry.path)
                    return FinishedStep(
                        directory=entry.path,
                        result=result,
                        resources=wish.resources,
                        is_earlier=True,
                    )
        return None


def _step_name(entry: Entry) -> str:
    return entry.name.partition(".")[0]


def _job_name(prefix: str, entry: Entry) -> str:
    """A name that people know the step by, and that no other job has."""
    nonce = entry.name.rpartition(".")[2]
    return f"{prefix}{_step_name(entry)}"[: _LONGEST_JOB_NAME - len(nonce) - 1] + f".{nonce}"


def _await_outputs(entry: Entry, result: StepResult) -> None:
    """Wait until all that a node has left is here: a network filesystem tells late."""
    give_up = time.monotonic() + SHARED_NEWS_SECONDS
    with told(f"until all that {result.node} has left in {entry.path / OUTPUTS} is to be seen"):
        while result.ending is StepEnding.EXITED and not _is_whole(entry, result):
            if time.monotonic() > give_up:
                raise BatchError(
                    f"what {result.node} has left in {entry.path / OUTPUTS} is not all here",
                    "is it on a filesystem that all nodes share?",
                )
            time.sleep(SHORTEST_LOOK_SECONDS)


def _is_whole(entry: Entry, result: StepResult) -> bool:
    """Whether all that a step has left is still there, or here by now."""
    if result.ending is not StepEnding.EXITED or not (entry.path / OUTPUTS).is_dir():
        return False
    for name, size in result.outputs.items():
        path = entry.path / OUTPUTS / name
        try:
            status = path.lstat()
        except OSError:
            return False
        # An empty one may have been a mount point, which cwltool replaces by a link.
        if size and status.st_size != size:
            return False
    return True
