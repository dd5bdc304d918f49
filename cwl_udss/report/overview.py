# SPDX-License-Identifier: Apache-2.0
"""Where a run stands, in a few lines for a terminal."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence

from cwl_udss.errors import one_line
from cwl_udss.machine.quantities import counted
from cwl_udss.report.nextflow import show_duration
from cwl_udss.report.record import Status
from cwl_udss.report.run import Run
from cwl_udss.report.table import Row, table_lines

_MOST_FAILURES = 5
_RESUME = "--udss-resume"


def overview(run: Run, drivers: Sequence[str], width: int) -> list[str]:
    """Return them; `drivers` are those that drive it now."""
    lines = [f"{one_line(run.begin.workflow)}: {_state(run, drivers)}"]
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


def _table(run: Run, width: int) -> list[str]:
    rows = {node.path: Row(node.path) for node in run.begin.nodes if node.has_jobs}
    total = Row("all")
    for step in run.steps:
        times = step.ran.times
        for row in (rows.setdefault(step.step, Row(step.step)), total):
            row.count(step.status)
            row.note_times(times.started, times.ended)
    return table_lines(list(rows.values()), total, run.now, width)


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
