# SPDX-License-Identifier: Apache-2.0
"""A pilot's allocations: as many as its steps need, and an end if none is of any use."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.batch.pilots.allocations import Allocations
from cwl_udss.batch.pilots.capacity import Capacity
from cwl_udss.batch.pilots.pool import Pool
from cwl_udss.batch.poller import query_interval
from cwl_udss.batch.run_directory import last_line, script
from cwl_udss.batch.systems.system import BatchError, JobState, JobStatus
from cwl_udss.machine.quantities import counted
from cwl_udss.machine.umask import own_umask
from cwl_udss.machine.waiting import Telling

_logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_IDLE_SECONDS = 120.0
"""Allocations for which there is nothing to do are given back."""
_JOIN_SECONDS = 1.5


@dataclass(kw_only=True)
class _Allocation:
    """One that was asked for."""

    number: str
    job: str
    log: Path
    status: JobStatus | None = None
    times_unknown: int = 0
    has_workers: bool = False
    """They have called."""
    is_over: bool = False


class Fleet:
    """Watches the allocations, on a thread of its own."""

    def __init__(
        self,
        directory: Path,
        allocations: Allocations,
        pool: Pool,
        capacity: Capacity,
        *,
        name_prefix: str,
        environment: Mapping[str, str],
    ) -> None:
        """The directory is for the allocations' scripts and logs."""
        self._directory = directory
        self._allocations = allocations
        self._pool = pool
        self._capacity = capacity
        self._environment = environment
        self._name = f"{name_prefix}cwl-udss-pilot"
        self._known: list[_Allocation] = []
        self._failed = 0
        self._steps_ended = 0
        self._steps_seen = 0
        self._asked = 0.0
        self._cost = 0.0
        self._busy = time.monotonic()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._telling = Telling(self.describe)
        self._thread = threading.Thread(target=self._watch_to_the_end, name="pilot", daemon=True)
        self.ended: Future[None] = Future()
        """Done when no step is going to be run any more."""
        self.failure: BatchError | None = None
        """Why, unless the run itself has ended."""

    def start(self) -> None:
        """Begin to watch; allocations are asked for when there are steps."""
        self._thread.start()

    def wake(self) -> None:
        """Look at once: there is a step."""
        self._wake.set()

    def note_end(self) -> None:
        """A step has ended."""
        self._steps_ended += 1

    def stop(self) -> None:
        """Let nobody wait for a step any more."""
        with self._lock:
            self._stop.set()
            if not self.ended.done():
                self.ended.set_result(None)
        self._wake.set()

    def end(self) -> None:
        """End all allocations."""
        self.stop()
        self._allocations.hurry()
        self._thread.join(_JOIN_SECONDS)
        self._end(self._living())

    def describe(self) -> str:
        """Say what is waited for, for people."""
        standings = Counter(self._standing(allocation) for allocation in self._living())
        shown = "; ".join(f"{number} {words}" for words, number in standings.most_common())
        return (
            f"for {counted(self._pool.outstanding(), 'step')} in allocations of "
            f"{self._allocations.name}: {shown or 'none yet'}"
        )

    def _watch_to_the_end(self) -> None:
        try:
            while not self._stop.is_set():
                self._look()
                self._wake.wait(_LOOK_SECONDS)
                self._wake.clear()
        except BatchError as error:
            self._fail(error)
        except Exception as error:
            # Nobody may wait for what nobody watches.
            _logger.exception("the pilot cannot be watched any more")
            self._fail(BatchError("the pilot cannot be watched any more", str(error)))
        finally:
            self._telling.close()

    def _fail(self, error: BatchError) -> None:
        if not self._stop.is_set():
            self.failure = error
        self.stop()
        self._end(self._living())

    def _look(self) -> None:
        self._pool.check()
        steps = self._pool.outstanding()
        has_news = self._steps_seen != self._steps_ended
        self._steps_seen = self._steps_ended
        if steps:
            self._busy = time.monotonic()
        if self._living():
            has_news |= self._ask(self._living())
        living = self._living()
        if not steps and living and time.monotonic() - self._busy > _IDLE_SECONDS:
            number = counted(len(living), "allocation")
            _logger.info("giving back %s, as there is nothing to do", number)
            self._end(living)
        for _ in range(self._capacity.wanted(steps=steps, living=len(living), failed=self._failed)):
            self._begin()
            has_news = True
        self._telling.note(is_waiting=steps > 0, has_news=has_news)

    def _begin(self) -> None:
        number = str(len(self._known))
        directory = self._directory / f"allocation-{number}"
        directory.mkdir(exist_ok=True)
        content = script(
            [
                *self._allocations.launcher(self._capacity.nodes),
                *self._pool.worker_command(number),
            ],
            log=directory / "log",
            environment=self._environment,
            umask=own_umask(),
            remark="Starts workers of a pilot",
        )
        path = directory / "script"
        path.write_text(content, encoding="utf-8", errors="surrogateescape")
        try:
            job = self._allocations.begin(self._name, path, directory / "log")
        except BatchError as error:
            self._note_failure(error)
            return
        _logger.info("the pilot's allocation %s is %s of %s", number, job, self._allocations.name)
        self._known.append(_Allocation(number=number, job=job, log=directory / "log"))

    def _ask(self, living: Sequence[_Allocation]) -> bool:
        """See how it stands with allocations; say whether that is news."""
        before = [(allocation.status, allocation.has_workers) for allocation in living]
        interval = query_interval(len(living), self._cost)
        if time.monotonic() - self._asked > interval:
            self._ask_for_statuses(living)
        if not all(allocation.has_workers for allocation in living):
            connected = self._pool.connected()
            for allocation in living:
                allocation.has_workers |= allocation.number in connected
        for allocation in living:
            self._note_end_of(allocation)
        return before != [(allocation.status, allocation.has_workers) for allocation in living]

    def _ask_for_statuses(self, living: Sequence[_Allocation]) -> None:
        self._asked = time.monotonic()
        try:
            statuses = self._allocations.statuses([allocation.job for allocation in living])
        except BatchError as error:  # it may answer the next time
            _logger.debug("%s", error)
            statuses = None
        self._cost = time.monotonic() - self._asked
        if statuses is not None:
            for allocation in living:
                _note_status(allocation, statuses.get(allocation.job))

    def _note_end_of(self, allocation: _Allocation) -> None:
        status = allocation.status
        if status is not None and status.is_hopeless:
            self._end([allocation])
            problem = f"{self._named(allocation)} will never run"
            self._note_failure(BatchError(problem, status.words))
        elif allocation.is_over and allocation.has_workers:
            words = f" ({status.words})" if status is not None and status.words else ""
            _logger.info("%s has ended%s", self._named(allocation), words)
        elif allocation.is_over:
            words = last_line(allocation.log) or (status.words if status is not None else "")
            self._note_failure(
                BatchError(
                    f"{self._named(allocation)} has ended, and its workers have never called"
                    f"{f': {words}' if words else ''}",
                    f"see {allocation.log}",
                )
            )

    def _note_failure(self, error: BatchError) -> None:
        """Fail if there is no hope that others do better."""
        self._failed += 1
        is_known_to_work = any(allocation.has_workers for allocation in self._known)
        if not self._living() and (not is_known_to_work or self._failed >= self._capacity.most):
            raise error
        _logger.warning("%s", error)

    def _living(self) -> list[_Allocation]:
        return [allocation for allocation in self._known if not allocation.is_over]

    def _end(self, allocations: Sequence[_Allocation]) -> None:
        if allocations:
            self._allocations.end([allocation.job for allocation in allocations])
        for allocation in allocations:
            allocation.is_over = True

    def _named(self, allocation: _Allocation) -> str:
        return f"the pilot's allocation {allocation.job} of {self._allocations.name}"

    def _standing(self, allocation: _Allocation) -> str:
        status = allocation.status
        if allocation.has_workers:
            return "running"
        if status is not None and status.state is JobState.RUNNING:
            return f"whose workers have not called yet ({allocation.log})"
        return f"waiting ({status.words})" if status is not None and status.words else "waiting"


def _note_status(allocation: _Allocation, status: JobStatus | None) -> None:
    allocation.status = status or allocation.status
    allocation.times_unknown = 0 if status else allocation.times_unknown + 1
    is_ended = status is not None and status.state is JobState.ENDED
    allocation.is_over = is_ended or allocation.times_unknown > 1
