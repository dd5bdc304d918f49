# SPDX-License-Identifier: Apache-2.0
"""What a table and a line of progress say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cwl_udss.errors import one_line
from cwl_udss.progress.tally import Tally
from cwl_udss.report.record import Status, StepRecord
from cwl_udss.report.table import NARROW, fitting, show_seconds, table_lines

_MOST_SAID = 5
"""Lines of what a step has said that has failed."""
_MOST_BESIDE = 4
"""Lines for what else is going on."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What there is to be told of."""

    title: str
    """The workflow's."""
    tally: Tally
    beside: Callable[[], Sequence[str]]
    """What else is going on: images that are pulled, jobs in a queue."""


def frame(sources: Sources, width: int, height: int) -> list[str]:
    """Return the lines of a table that fit: those of the steps in which something goes on."""
    beside = [fitting(line, width - 1) for line in sources.beside()][:_MOST_BESIDE]
    # The first line, the titles, the sum, how many there are more, and the cursor's.
    room = height - len(beside) - 5
    picture = sources.tally.picture(room)
    seconds = picture.total.seconds(picture.now)
    since = "" if seconds is None else f": {show_seconds(seconds)}"
    title = f"{fitting(sources.title, max(1, width - 1 - len(since)))}{since}"
    table = table_lines(picture.rows, picture.total, picture.now, width, picture.left_out)
    if room < 1 and width >= NARROW:
        table = table[-1:]
    lines = [fitting(line, width - 1) for line in (title, *table, *beside)]
    return lines[: max(1, height - 1)]


def summary(sources: Sources) -> str:
    """Return how it stands, in one line."""
    picture = sources.tally.picture(0)
    words = zip(picture.total.counts, ("done", "running", "waiting", "failed"), strict=True)
    counts = ", ".join(f"{n} {word}" for n, word in words if n or word == "done")
    seconds = picture.total.seconds(picture.now)
    beside = "; ".join(sources.beside())
    return fitting(
        f"steps after {show_seconds(seconds or 0)}: {counts}{f'; {beside}' if beside else ''}", 500
    )


def failure_lines(record: StepRecord) -> list[str]:
    """Return what there is to be seen at once of a step that has failed: the end of what it has
    said, which the log has with all else."""
    said = record.ran.said.splitlines() if record.status is Status.FAILED else []
    last = [f"  | {line}" for line in said if line.strip()][-_MOST_SAID:]
    return [one_line(line) for line in (f"{record.name} has said:", *last)] if last else []
