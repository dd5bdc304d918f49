# SPDX-License-Identifier: Apache-2.0
"""Processes of their own for containers that nobody waits for: each ends with its container."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable

_STARTED = b"\0"


class Beginning:
    """What who has started such a process is told, once: that the container runs, or why not."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def has_come(self) -> None:
        """Tell that it runs."""
        self._tell(_STARTED)

    def has_failed(self, problem: str) -> None:
        """Tell why it does not run, if nothing was told before."""
        with contextlib.suppress(OSError):  # nobody is there any more
            self._tell(problem.encode(errors="surrogateescape"))

    def _tell(self, words: bytes) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with open(descriptor, "wb", buffering=0) as stream:
                stream.write(words)


def start_detached(be: Callable[[Beginning], int]) -> str | None:
    """Have a process be something until its end. Returns None when it has told that it runs, else
    why it does not: "" if it has ended without a word."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if not os.fork():
        os.close(reading)
        os._exit(be(Beginning(writing)))
    os.close(writing)
    with open(reading, "rb") as stream:
        said = stream.read()
    return None if said == _STARTED else os.fsdecode(said)


def leave_caller() -> None:
    """Have nothing of the caller's any more: neither session, nor terminal, nor streams."""
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
