# SPDX-License-Identifier: Apache-2.0
"""Where the standard streams of a job come from and go to."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cwl_udss.sandbox import Streams


@dataclass(frozen=True, kw_only=True)
class StreamPaths:
    """Where a tool's standard streams come from and go to, and where they go without a path."""

    stdin: str | None
    stdout: str | None
    stderr: str | None
    default_stdout: Any
    default_stderr: Any

    @contextlib.contextmanager
    def opened(self) -> Iterator[Streams]:
        """Open them. A tool's output that CWL does not capture goes to the log, as with cwltool."""
        with contextlib.ExitStack() as stack:
            stdin = None if self.stdin is None else stack.enter_context(open(self.stdin, "rb"))
            stdout = _opened(self.stdout, self.default_stdout, stack)
            # Of one file for both a second descriptor would begin at its beginning again.
            is_same = self.stdout is not None and self.stdout == self.stderr
            stderr = stdout if is_same else _opened(self.stderr, self.default_stderr, stack)
            yield Streams(
                stdin=None if stdin is None else stdin.fileno(), stdout=stdout, stderr=stderr
            )


def _opened(path: str | None, otherwise: Any, stack: contextlib.ExitStack) -> int:
    """A descriptor of a file by path, open as long as the stack; without a path of something else,
    which stays open."""
    if path is not None:
        return stack.enter_context(open(path, "wb")).fileno()
    stream = otherwise or sys.stderr
    stream.flush()  # what was said before comes before
    return int(stream.fileno())
