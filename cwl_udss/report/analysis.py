# SPDX-License-Identifier: Apache-2.0
"""What follows from a run's steps: which of them it waited for, and what they should ask for."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cwl_udss.report.nextflow import asked_for, processor_share
from cwl_udss.report.record import Status, StepRecord
from cwl_udss.report.run import Node

_MEBIBYTE = 1 << 20
_SLACK = 1.25
"""Of memory: another input may need more."""
_TIME_SLACK = 2.0
_MEMORY_STEPS = ((1 << 30, 64), (8 << 30, 256), (math.inf, 1024))
"""In MiB, to which is rounded up below a size."""
_TOO_MUCH = 2.0
"""Times what is used."""


def by_step(steps: Iterable[StepRecord]) -> dict[str, list[StepRecord]]:
    """Return the jobs of each step."""
    found: defaultdict[str, list[StepRecord]] = defaultdict(list)
    for step in steps:
        found[step.step].append(step)
    return dict(found)


def critical_path(steps: Sequence[StepRecord], nodes: Sequence[Node]) -> list[StepRecord]:
    """Return the jobs that decided when the run was over: the one that ended last, the one of those
    before it that ended last, and so on; the first to begin comes first."""
    before = {node.path: node.before for node in nodes}
    lasts: dict[str, StepRecord] = {}
    for path, jobs in by_step(steps).items():
        ended = [job for job in jobs if job.ran.times.ended is not None]
        if ended:
            lasts[path] = max(ended, key=_ended)
    found: list[StepRecord] = []
    candidates = list(lasts)
    while candidates:
        last = max((lasts[candidate] for candidate in candidates), key=_ended)
        found.append(last)
        candidates = [name for name in _with_jobs(last.step, before, lasts) if name != last.step]
        if any(other.step == last.step for other in found[:-1]):  # no workflow has circles
            break
    return found[::-1]


def _with_jobs(
    path: str, before: Mapping[str, tuple[str, ...]], lasts: Mapping[str, StepRecord]
) -> list[str]:
    """Those before a step that have jobs, through those that have none."""
    found: list[str] = []
    pending, seen = list(before.get(path, ())), set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in lasts:
            found.append(name)
        else:
            pending += before.get(name, ())
    return found


def _ended(step: StepRecord) -> float:
    return step.ran.times.ended or 0.0


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What the jobs of a step have used, against what they have asked for."""

    step: str
    tool: str
    jobs: int
    failed: int
    seconds: tuple[float, float] | None
    """The median, and the most; so are the following."""
    memory_bytes: tuple[int, int] | None
    cores: tuple[float, float] | None
    asked_seconds: float | None
    asked_memory_bytes: int | None
    asked_cores: float | None
    advice: tuple[str, ...]
    """Lines for a ResourceRequirement, and the like."""
    why: str


def needs(step: str, jobs: Sequence[StepRecord]) -> Needs:
    """Compare them, and say what to write into the CWL document instead."""
    seconds = _spread(job.ran.times.seconds for job in jobs)
    memory = _spread(job.ran.usage.memory_bytes for job in jobs if job.ran.usage)
    cores = _spread(map(processor_share, jobs))
    asked = asked_for(max(jobs, key=lambda job: asked_for(job).memory_bytes or 0))
    lines, reasons = [], []
    whole_memory = None if memory is None else (int(memory[0]), int(memory[1]))
    has_succeeded = any(job.status is Status.COMPLETED for job in jobs)
    if whole_memory is not None and has_succeeded:
        wanted = _rounded(whole_memory[1] * _SLACK)
        reason = _compared(asked.memory_bytes, wanted, whole_memory[1])
        if reason:
            lines.append(f"ramMin: {wanted // _MEBIBYTE}")
            reasons.append(f"memory: {reason}")
    if cores is not None and has_succeeded and seconds and seconds[1] >= 1:
        busy = max(1, round(cores[1]))
        if busy != (asked.cores or 1):
            lines.append(f"coresMin: {busy}")
            reasons.append(f"cores: {cores[1]:.1f} kept busy")
    if lines:
        lines = ["ResourceRequirement:", *(f"  {line}" for line in lines)]
    if seconds is not None and has_succeeded and asked.seconds is not None:
        wanted_seconds = max(60, math.ceil(seconds[1] * _TIME_SLACK / 60) * 60)
        reason = _compared(asked.seconds, wanted_seconds, seconds[1])
        if reason:
            lines += ["ToolTimeLimit:", f"  timelimit: {wanted_seconds}"]
            reasons.append(f"time: {reason}")
    return Needs(
        step=step,
        tool=jobs[0].tool,
        jobs=len(jobs),
        failed=sum(job.status is Status.FAILED for job in jobs),
        seconds=seconds,
        memory_bytes=whole_memory,
        cores=cores,
        asked_seconds=asked.seconds,
        asked_memory_bytes=asked.memory_bytes,
        asked_cores=asked.cores,
        advice=tuple(lines),
        why="; ".join(reasons),
    )


def _compared(asked: float | None, wanted: float, used: float) -> str:
    """Why to ask for something else, "" if there is no reason."""
    if asked is None:
        return "nothing is asked for"
    if used > asked:
        return "more is used than is asked for"
    if asked > wanted * _TOO_MUCH:
        return f"{asked / max(used, 1e-9):.0f} times what is used"
    return "almost all is used" if used * 1.05 > asked else ""


def _spread(values: Iterable[float | None]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None]
    return (statistics.median(known), max(known)) if known else None


def _rounded(size: float) -> int:
    """An amount of memory that people would write, not less than this."""
    step = next(step for below, step in _MEMORY_STEPS if size < below) * _MEBIBYTE
    return math.ceil(size / step) * step
