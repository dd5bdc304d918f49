# SPDX-License-Identifier: Apache-2.0
"""Where the standard streams of a step come from and go to."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cwl_udss.sandbox import Streams


@dataclass(frozen=True, kw_only=True)
class StreamPaths:
    """Where the standard streams come from and go to; relative paths are in the output directory.
    Without a path input is at its end, and output goes where the defaults say, else to our own."""

    stdin: str | None
    stdout: str | None
    stderr: str | None
    default_stdout: IO[Any] | None = None
    default_stderr: IO[Any] | None = None
    remembered_bytes: int = 0
    """See sandbox.Streams."""

    @contextlib.contextmanager
    def opened(self, outputs: Path) -> Iterator[Streams]:
        """Open them."""
        with contextlib.ExitStack() as stack:
            stdin = None if self.stdin is None else stack.enter_context(open(self.stdin, "rb"))
            files: dict[str, int] = {}

            def opened(path: str | None, default: IO[Any]) -> int:
                if path is None:
                    default.flush()  # what was said before comes before
                    return default.fileno()
                if path not in files:  # a second descriptor would begin at the file's beginning
                    files[path] = _open(outputs / path, stack)  # an absolute one stays
                return files[path]

            yield Streams(
                stdin=None if stdin is None else stdin.fileno(),
                stdout=opened(self.stdout, self.default_stdout or sys.stdout),
                stderr=opened(self.stderr, self.default_stderr or sys.stderr),
                remembered_bytes=self.remembered_bytes,
            )


def _open(path: Path, stack: contextlib.ExitStack) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return stack.enter_context(open(path, "wb")).fileno()
