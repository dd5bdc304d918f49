# SPDX-License-Identifier: Apache-2.0
"""Of `cwl-udss doctor`: each runtime tried on this machine, what it does not keep, and how long the
start of a sandbox takes."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.choosing.choice import RuntimeFinder, describe_choice
from cwl_udss.runtimes.choosing.table import RUNTIMES
from cwl_udss.sandbox import Limit, RootFilesystem, Runtime, Sandbox, Streams

ALL = "all"
_TIMES = 5
_HEADING = ("runtime", "a start", "what it does not keep")


@dataclass(frozen=True)
class Tried:
    """What came of trying a runtime."""

    name: str
    milliseconds: float | None = None
    """Of a start."""
    limits: Sequence[Limit] = ()
    problem: str = ""
    """Why it does not work, and what to do; "" if it works."""


def describe_sandbox(finder: RuntimeFinder) -> str:
    """Say what makes the sandboxes of a run. Raises SandboxError if nothing does."""
    runtime = finder.find()
    if runtime.limits:
        return describe_choice(runtime)
    return f"{runtime.description}: user, mount, PID, IPC, UTS and network namespaces work"


def parse_names(given: Sequence[str]) -> list[str]:
    """Return the runtimes that were named, again and again or with commas between; all if none was,
    or `all`. Raises SandboxError for a name of none."""
    names = [name for text in given for name in text.split(",") if name]
    for name in names:
        if name not in RUNTIMES and name != ALL:
            raise SandboxError(f"there is no runtime {name!r}", f"only {', '.join(RUNTIMES)}")
    return list(RUNTIMES) if not names or ALL in names else list(dict.fromkeys(names))


def try_runtimes(finder: RuntimeFinder, names: Iterable[str] = RUNTIMES) -> Iterator[Tried]:
    """Try each runtime, whichever is wanted."""
    for name in names:
        try:
            runtime = finder.try_runtime(name)
            yield Tried(name, start_milliseconds(runtime), runtime.limits)
        except SandboxError as error:
            yield Tried(name, problem=str(error))


def describe_tried(tried: Iterable[Tried]) -> Iterator[str]:
    """Yield the lines of a table, and below it why the others do not work."""
    tried = list(tried)
    rows = [_HEADING, *map(_row, (one for one in tried if not one.problem))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if len(rows) > 1:
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            yield "  ".join(cells).rstrip()
    yield from (f"{one.name}: {one.problem}" for one in tried if one.problem)


def _row(tried: Tried) -> tuple[str, ...]:
    weak, lacking = (
        ", ".join(limit.name for limit in tried.limits if limit.is_weakness is kind)
        for kind in (True, False)
    )
    told = [f"must be accepted: {weak}"] * bool(weak) + [f"lacks {lacking}"] * bool(lacking)
    return tried.name, f"{tried.milliseconds:.0f} ms", "; ".join(told) or "keeps all"


def start_milliseconds(runtime: Runtime) -> float:
    """Return how long it takes to start and end a sandbox in which there is nothing."""
    times = []
    with tempfile.TemporaryDirectory() as empty, open(os.devnull, "wb") as nothing:
        sandbox = Sandbox(
            root=RootFilesystem(path=Path(empty)),
            command=("/nothing",),
            environment={},
            working_directory="/",
        )
        for _ in range(_TIMES):
            began = time.monotonic()
            streams = Streams(stdout=nothing.fileno(), stderr=nothing.fileno())
            runtime.start(sandbox, streams).wait()
            times.append(time.monotonic() - began)
    return statistics.median(times) * 1000
