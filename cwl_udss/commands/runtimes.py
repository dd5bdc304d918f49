# SPDX-License-Identifier: Apache-2.0
"""Of `cwl-udss doctor`: each runtime tried on this machine, what it does not keep, and how long the
start of a sandbox takes."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.choosing.choice import RuntimeFinder, describe_choice
from cwl_udss.runtimes.choosing.table import RUNTIMES
from cwl_udss.sandbox import RootFilesystem, Runtime, Sandbox, Streams

_TIMES = 5


def describe_sandbox(finder: RuntimeFinder) -> str:
    """Say what makes the sandboxes of a run. Raises SandboxError if nothing does."""
    runtime = finder.find()
    if runtime.limits:
        return describe_choice(runtime)
    return f"{runtime.description}: user, mount, PID, IPC, UTS and network namespaces work"


def try_runtimes(finder: RuntimeFinder) -> Iterator[str]:
    """Try each runtime, whichever is wanted; yield what came of it."""
    for name in RUNTIMES:
        try:
            runtime = finder.try_runtime(name)
            milliseconds = start_milliseconds(runtime)
        except SandboxError as error:
            yield f"{name}: {error}"
            continue
        limits = ", ".join(limit.name for limit in runtime.limits) or "none"
        yield f"{name}: works, {milliseconds:.0f} ms a start; limits: {limits}"


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
