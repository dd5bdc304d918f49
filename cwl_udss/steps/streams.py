# SPDX-License-Identifier: Apache-2.0
"""Where the standard streams of a step come from and go to."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.sandbox import Streams


@dataclass(frozen=True, kw_only=True)
class StreamPaths:
    """Where the standard streams come from and go to; relative paths are in the output directory.
    Without a path input is at its end, and output the caller's."""

    stdin: str | None
    stdout: str | None
    stderr: str | None

    @contextlib.contextmanager
    def opened(self, outputs: Path) -> Iterator[Streams]:
        """Open them."""
        with contextlib.ExitStack() as stack:
            stdin = None if self.stdin is None else stack.enter_context(open(self.stdin, "rb"))
            descriptors: dict[str | None, int] = {}
            for path, own in ((self.stdout, sys.stdout), (self.stderr, sys.stderr)):
                if path is None:
                    own.flush()
                elif path not in descriptors:  # a second one would begin at the file's beginning
                    descriptors[path] = _opened(outputs / path, stack)  # an absolute one stays
            yield Streams(
                stdin=None if stdin is None else stdin.fileno(),
                stdout=descriptors.get(self.stdout, sys.stdout.fileno()),
                stderr=descriptors.get(self.stderr, sys.stderr.fileno()),
            )


def _opened(path: Path, stack: contextlib.ExitStack) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return stack.enter_context(open(path, "wb")).fileno()
