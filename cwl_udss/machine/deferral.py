# SPDX-License-Identifier: Apache-2.0
"""Moments at which no handler of a signal may raise: what has just been begun would be left."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Deferral:
    """From its making on, the handlers of signals that end a run are called at its end only. Those
    run on the main thread, and on others there is nothing to be deferred."""

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int, FrameType | None], object]] = {}
        self._received: list[int] = []
        if threading.current_thread() is threading.main_thread():
            with _blocked():
                for number in _NUMBERS:
                    handler = signal.getsignal(number)
                    if callable(handler):
                        self._handlers[number] = handler
                        signal.signal(number, self._note)

    def end(self) -> None:
        """Have the handlers called again, at once for what has come meanwhile."""
        handlers, self._handlers = self._handlers, {}
        with _blocked() if handlers else contextlib.nullcontext():
            for number, handler in handlers.items():
                signal.signal(number, handler)
        received, self._received = self._received, []
        for number in received:
            handlers[number](number, None)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._received.append(number)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Defer them in this block, which is to be short."""
    deferral = Deferral()
    try:
        yield
    finally:
        deferral.end()


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
