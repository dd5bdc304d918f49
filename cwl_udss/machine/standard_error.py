# SPDX-License-Identifier: Apache-2.0
"""Standard error, of this process and all that it starts, put into a file for a while.

By its descriptor: what a person is to see is written to the terminal, and whatever else is said by
whomever, of steps and libraries too, cannot get in between.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TextIO

_STDERR = 2
_PIPE_BYTES = 64 << 10
_LAST_SECONDS = 1.0
"""So long is waited for what is on its way: a process that was left may have the pipe, too."""


class _Diverted:
    """What is to be undone."""

    def __init__(self) -> None:
        self.kept: int | None = None
        """Where standard error goes otherwise."""

    def end(self) -> None:
        """Have standard error go there again."""
        kept, self.kept = self.kept, None
        if kept is not None:
            with contextlib.suppress(OSError):
                sys.stderr.flush()
            os.dup2(kept, _STDERR)
            os.close(kept)


_diverted = _Diverted()


@contextlib.contextmanager
def diverted(log: int, tell: Callable[[OSError], None]) -> Iterator[TextIO]:
    """Have what is written to standard error go to a file in this block; gives what writes to where
    it goes otherwise. That the file is full is no failure of who says something: `tell` is told,
    once.
    """
    reading, writing = os.pipe()
    copying = threading.Thread(target=_copy, args=(reading, log, tell), name="log", daemon=True)
    sys.stderr.flush()
    shown = os.dup(_STDERR)
    _diverted.kept = os.dup(_STDERR)
    os.dup2(writing, _STDERR)
    os.close(writing)
    copying.start()
    try:
        with open(
            shown, "w", encoding=sys.stderr.encoding, errors="backslashreplace", newline=""
        ) as stream:
            yield stream
    finally:
        _diverted.end()
        copying.join(_LAST_SECONDS)


def give_back() -> None:
    """Have standard error go where it went, on a line of its own: for who ends this process at
    once."""
    if _diverted.kept is not None:
        with contextlib.suppress(OSError):
            os.write(_diverted.kept, b"\n")
        _diverted.end()


def _copy(reading: int, log: int, tell: Callable[[OSError], None]) -> None:
    is_whole = True
    with contextlib.closing(os.fdopen(reading, "rb", buffering=0)) as stream:
        while data := stream.read(_PIPE_BYTES):
            rest = memoryview(data)
            try:
                while is_whole and rest:
                    rest = rest[os.write(log, rest) :]
            except OSError as error:
                is_whole = False
                tell(error)
