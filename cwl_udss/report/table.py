# SPDX-License-Identifier: Apache-2.0
"""How many jobs of each step have ended, run, or wait, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from cwl_udss.errors import one_line
from cwl_udss.report.nextflow import show_duration
from cwl_udss.report.record import Status

NARROW = 60
"""Below so many columns there is no table, but a number in a line."""
_WIDTHS = (8, 8, 8, 8, 12, 12)
_LONGEST_NAME = 40
_FEWEST_ENDED = 3
"""So many have to have ended before anything is said of the others."""


@dataclass
class Row:
    """Of a step, or of all of them."""

    name: str
    done: int = 0
    running: int = 0
    waiting: int = 0
    failed: int = 0
    found: int = 0
    """How many of those done have not run, as their result was there."""
    begun: float | None = None
    """When its first job began to run, in seconds since 1970; None if none has, or nobody knows."""
    ended: float | None = None
    """When its last one ended."""
    expected: int | None = None
    """How many jobs there are going to be, if that is known."""
    unmade: int = 0
    """How many of them are not there yet, which wait as well as those that are."""

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Done, running, waiting, failed."""
        return self.done, self.running, self.waiting + self.unmade, self.failed

    def count(self, status: Status, number: int = 1) -> None:
        """Have so many more jobs, or fewer, of a status."""
        name = _COUNTED_AS[status]
        setattr(self, name, getattr(self, name) + number)
        self.found += number if status is Status.CACHED else 0

    def note_times(self, begun: float | None, ended: float | None) -> None:
        """Have a job that ran then."""
        if begun is not None:
            self.begun = begun if self.begun is None else min(self.begun, begun)
        if ended is not None:
            self.ended = ended if self.ended is None else max(self.ended, ended)

    def seconds(self, now: float) -> float | None:
        """Return for how long it has run, from the begin of its first job on."""
        if self.begun is None:
            return None
        end = now if self.running or self.ended is None else self.ended
        return max(0.0, end - self.begun)

    def seconds_left(self, now: float) -> float | None:
        """Return how long the rest is going to take, at the pace until now; None if that cannot be
        told."""
        ran, seconds = self.done + self.failed - self.found, self.seconds(now)
        if self.expected is None or not seconds or ran < _FEWEST_ENDED or not self.running:
            return None
        rest = self.expected - self.done - self.failed
        return seconds / ran * rest if rest > 0 else None


_COUNTED_AS = {
    Status.COMPLETED: "done",
    Status.CACHED: "done",
    Status.RUNNING: "running",
    Status.SUBMITTED: "waiting",
    Status.FAILED: "failed",
    Status.ABORTED: "failed",
}


def fitting(text: str, width: int) -> str:
    """Return a text such that it takes no more than so many columns, and has no say over the
    terminal."""
    text = one_line(text)
    if cell_len(text) <= width:
        return text
    return f"{set_cell_size(text, width - 1).rstrip()}…" if width > 0 else ""


def table_lines(
    rows: Sequence[Row], total: Row, now: float, width: int, left_out: int = 0
) -> list[str]:
    """Return a line for each row, after one that says what the columns are, and before the sum. Of
    further steps only their number is given."""
    if width < NARROW:
        return _narrow_lines(total)
    titles, cells = _columns(rows, total, now)
    room = min(_LONGEST_NAME, width - sum(_WIDTHS[: len(titles)]))
    names = [fitting(row.name, room) for row in rows]
    more = [fitting(f"and {left_out} more", room)] if left_out else []
    longest = max(map(cell_len, (*names, *more, total.name)), default=0)

    def line(name: str, texts: Sequence[str]) -> str:
        places = zip(texts, _WIDTHS, strict=False)
        return set_cell_size(name, longest) + "".join(text.rjust(place) for text, place in places)

    lines = [line(name, cells(row)) for name, row in zip(names, rows, strict=True)]
    return [line("", titles), *lines, *more, line(total.name, cells(total))]


def _columns(
    rows: Sequence[Row], total: Row, now: float
) -> tuple[list[str], Callable[[Row], list[str]]]:
    """The titles of those that there are, and what gives what is in them."""
    has_rest = any(row.expected is not None for row in rows)

    def cells(row: Row) -> list[str]:
        texts = [str(count or "-") for count in row.counts]
        if row.expected is not None and row.expected != row.done:
            texts[0] = f"{row.done}/{row.expected}"
        seconds, rest = row.seconds(now), row.seconds_left(now)
        texts.append("-" if seconds is None else show_seconds(seconds))
        return [*texts, *(["" if rest is None else f"~{show_seconds(rest)}"] if has_rest else [])]

    return ["done", "running", "waiting", "failed", "time", *(["left"] if has_rest else [])], cells


def _narrow_lines(total: Row) -> list[str]:
    words = zip(total.counts[1:], ("running", "waiting", "failed"), strict=True)
    return [f"{total.done}/{sum(total.counts)} done", *(f"{n} {word}" for n, word in words if n)]


def show_seconds(seconds: float) -> str:
    """Return a time that goes on: tenths of a second would only flicker."""
    return show_duration(round(seconds)) if seconds >= 1 else "0s"
