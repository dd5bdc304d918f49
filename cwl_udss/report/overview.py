# SPDX-License-Identifier: Apache-2.0
"""Where a run stands, in a few lines for a terminal."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Sequence

from cwl_udss.errors import one_line
from cwl_udss.machine.quantities import counted
from cwl_udss.report.analysis import by_step
from cwl_udss.report.nextflow import show_duration
from cwl_udss.report.record import Status, StepRecord
from cwl_udss.report.run import Run

_COLUMNS = ("done", "running", "waiting", "failed", "time of all")
_WIDTHS = (8, 8, 8, 8, 13)
_NARROW, _LONGEST_NAME = 60, 40
_MOST_FAILURES = 5
_RESUME = "--udss-resume"


def overview(run: Run, drivers: Sequence[str], width: int) -> list[str]:
    """Return them; `drivers` are those that drive it now. Below 60 columns there is no table."""
    lines = [f"{one_line(run.begin.workflow)}: {_state(run, drivers)}"]
    if width < _NARROW:
        done, running, waiting, failed = _counts(run.steps)
        lines.append(f"{done}/{len(run.steps)} done")
        lines += [
            f"{number} {word}"
            for number, word in ((running, "running"), (waiting, "waiting"), (failed, "failed"))
            if number
        ]
    else:
        lines += _table(run, width)
    lines += _failures(run)
    return [*lines, *_how_to_go_on(run, drivers)]


def _state(run: Run, drivers: Sequence[str]) -> str:
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.begin.started))
    if run.end is not None and not drivers:
        took = show_duration(max(0.0, run.end.ended - run.begin.started))
        code = run.end.exit_code
        return f"success, in {took}" if code == 0 else f"failed after {took}, exit code {code}"
    if drivers:
        since = show_duration(max(0.0, run.now - run.begin.started))
        return f"running for {since}, driven by {', '.join(drivers)}"
    return f"begun {started} on {run.begin.host}; nothing drives it now"


def _counts(steps: Sequence[StepRecord]) -> tuple[int, int, int, int]:
    counts = Counter(step.status for step in steps)
    return (
        counts[Status.COMPLETED] + counts[Status.CACHED],
        counts[Status.RUNNING],
        counts[Status.SUBMITTED],
        counts[Status.FAILED] + counts[Status.ABORTED],
    )


def _table(run: Run, width: int) -> list[str]:
    jobs = by_step(run.steps)
    names = [node.path for node in run.begin.nodes if node.has_jobs]
    names += [name for name in jobs if name not in names]
    most = min(_LONGEST_NAME, width - sum(_WIDTHS))
    room = max([len("all"), *(min(most, len(one_line(name))) for name in names)])

    def row(name: str, cells: Sequence[object]) -> str:
        shown = one_line(name)
        shown = shown if len(shown) <= room else f"{shown[: room - 1]}…"
        places = zip(cells, _WIDTHS, strict=True)
        return shown.ljust(room) + "".join(str(cell).rjust(place) for cell, place in places)

    def cells(steps: Sequence[StepRecord]) -> list[object]:
        seconds = sum(step.ran.times.seconds or 0.0 for step in steps)
        return [*(count or "-" for count in _counts(steps)), show_duration(seconds)]

    rows = [row(name, cells(jobs.get(name, ()))) for name in names]
    return [row("", _COLUMNS), *rows, row("all", cells(run.steps))]


def _failures(run: Run) -> list[str]:
    failed = sorted(
        (step for step in run.steps if step.status is Status.FAILED),
        key=lambda step: step.ran.times.ended or 0.0,
    )
    lines = []
    for step in failed[:_MOST_FAILURES]:
        code = step.ran.exit_code
        why = one_line(step.problem) or f"exit code {code}"
        where = f"; see {step.ran.directory}" if step.ran.directory not in ("", why) else ""
        lines.append(f"failed: {one_line(step.name)}: {why}{where}")
    left = len(failed) - len(lines)
    return [*lines, *([f"and {counted(left, 'other')} failed"] if left else [])]


def _how_to_go_on(run: Run, drivers: Sequence[str]) -> list[str]:
    has_succeeded = run.end is not None and run.end.exit_code == 0
    if drivers or has_succeeded or not run.begin.run_directory:
        return []
    command = list(run.begin.command)
    if not any(word.split("=")[0] == _RESUME for word in command):
        command[1:1] = [_RESUME, run.begin.run_directory]
    return [f"to go on: cd {shlex.quote(run.begin.directory)} && {shlex.join(command)}"]
