# SPDX-License-Identifier: Apache-2.0
"""A step for tests: what it may see, and how it ended."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cwl_udss.sandbox import Result, Runtime, Sandbox, Streams


@dataclass(frozen=True)
class Outcome:
    result: Result
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Step:
    """A sandbox as a step has it, and the host's directories behind it."""

    runtime: Runtime
    sandbox: Sandbox
    outdir: Path
    tmpdir: Path
    name: str = "bwrap"
    """Of the runtime."""

    def run(self, script: str, time_limit: float | None = None, **changes: Any) -> Outcome:
        return self.execute(("sh", "-c", script), time_limit, **changes)

    def execute(
        self, command: tuple[str, ...], time_limit: float | None = None, **changes: Any
    ) -> Outcome:
        sandbox = replace(self.sandbox, command=command, **changes)
        with (
            (self.tmpdir.parent / "stdout").open("w+b") as stdout,
            (self.tmpdir.parent / "stderr").open("w+b") as stderr,
        ):
            streams = Streams(stdout=stdout.fileno(), stderr=stderr.fileno())
            result = self.runtime.start(sandbox, streams).wait(time_limit)
            stdout.seek(0)
            stderr.seek(0)
            return Outcome(result, os.fsdecode(stdout.read()), os.fsdecode(stderr.read()))
