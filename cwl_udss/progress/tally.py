# SPDX-License-Identifier: Apache-2.0
"""How many jobs of each step have ended, run, or wait, kept as they do.

Of ten thousand steps only those are looked at that are going to be seen.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cwl_udss.report.record import Status, StepRecord
from cwl_udss.report.run import Node
from cwl_udss.report.table import Row

_GOES_ON = (Status.SUBMITTED, Status.RUNNING)
_FAILED, _RUNNING, _WAITING, _PLANNED, _DONE = range(5)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What is to be seen at a moment."""

    rows: Sequence[Row]
    total: Row
    left_out: int
    """How many rows there are besides."""
    now: float


class Tally:
    """Told of jobs and asked for pictures by any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        self._numbers: dict[str, int] = {}
        self._states: tuple[dict[str, Row], ...] = tuple({} for _ in range(5))
        """The rows again, those of which the same can be said together."""
        self._total = Row("all")
        self._jobs: dict[int, tuple[StepRecord, float | None]] = {}
        """Those that have not ended, and when they have begun to run."""

    def plan(self, nodes: Iterable[Node]) -> None:
        """Note which steps there are going to be, in their order."""
        with self._lock:
            self._total.begun = time.time()
            for node in nodes:
                if node.has_jobs:
                    self._row(node.path)

    def expect(self, step: str, number: int) -> None:
        """Note that a step is going to have so many jobs."""
        with self._lock:
            row = self._row(step)
            row.expected = (row.expected or 0) + number
            for each in (row, self._total):
                each.unmade += number
            self._place(step, row)

    def note(self, record: StepRecord) -> None:
        """Note how it stands with a job: it waits, it runs, or it has ended."""
        with self._lock:
            self._note(record)

    def note_state(self, names: Iterable[str], status: Status) -> None:
        """Note that jobs of these names, which have not ended, run, or wait again."""
        wanted = set(names)
        with self._lock:
            changed = [
                record
                for record, _ in self._jobs.values()
                if record.status is not status and record.job in wanted
            ]
            for record in changed:
                self._note(replace(record, status=status))

    def picture(self, most: int) -> Picture:
        """Return what there is to be seen in so many rows: first of all what has failed, and what
        runs."""
        with self._lock:
            chosen = self._chosen(max(0, most))
            rows = [replace(self._rows[name]) for name in sorted(chosen, key=self._numbers.get)]  # type: ignore[arg-type]
            return Picture(
                rows=rows,
                total=replace(self._total),
                left_out=len(self._rows) - len(rows),
                now=time.time(),
            )

    def _chosen(self, most: int) -> Iterable[str]:
        if len(self._rows) <= most:
            return self._rows
        states = self._states
        wanted = itertools.chain(
            itertools.islice(states[_FAILED], most // 2),
            *(states[state] for state in (_RUNNING, _WAITING, _FAILED)),
            itertools.islice(states[_PLANNED], most),
            reversed(states[_DONE]),
        )
        chosen: dict[str, None] = {}
        for name in wanted:
            if len(chosen) >= most:
                break
            chosen[name] = None
        return chosen

    def _note(self, record: StepRecord) -> None:
        row, now = self._row(record.step), time.time()
        before, begun = self._jobs.pop(record.number, (None, None))
        goes_on = record.status in _GOES_ON
        if record.status is Status.RUNNING:
            begun = now
        elif not goes_on and begun is None:  # another driver may have seen it begin
            begun = None if record.status is Status.CACHED else record.ran.times.started
        is_made = before is None and row.unmade > 0
        for each in (row, self._total):
            each.unmade -= is_made
            if before is not None:
                each.count(before.status, -1)
            each.count(record.status)
            each.note_times(begun, None if goes_on or begun is None else now)
        if goes_on:
            self._jobs[record.number] = record, begun
        self._place(record.step, row)

    def _row(self, name: str) -> Row:
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = Row(name)
            self._numbers[name] = len(self._numbers)
            self._place(name, row)
        return row

    def _place(self, name: str, row: Row) -> None:
        state = _state(row)
        if name not in self._states[state]:
            for others in self._states:
                others.pop(name, None)
            self._states[state][name] = row


def _state(row: Row) -> int:
    if row.failed:
        return _FAILED
    if row.running:
        return _RUNNING
    if row.waiting or row.unmade:
        return _WAITING
    return _DONE if row.done else _PLANNED
