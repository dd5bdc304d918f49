# SPDX-License-Identifier: Apache-2.0
"""Waiting where a person can see it: what is waited for is said, and a signal ends all of it.

Whoever may wait for long for something outside this process does so in told(). The driver is in
ended_by_signals(), as some waits can be interrupted by nothing: a thread in a system call on a
filesystem whose server is away, a library that tries again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from cwl_udss.machine.standard_error import give_back

_logger = logging.getLogger(__name__)
_Item = TypeVar("_Item")

FIRST_SECONDS = 30.0
"""After so long without a word what is waited for is said."""
LONGEST_PAUSE_SECONDS = 600.0
END_SECONDS = 4.0
"""A signal ends the process after so long, however far it is."""


class _Wait:
    """One that lasts."""

    def __init__(self, what: Callable[[], str]) -> None:
        self.what = what
        self.began = time.monotonic()
        self.due = self.began + FIRST_SECONDS
        self.pause = FIRST_SECONDS


class _Teller:
    """Says what is waited for, on a thread that lives as long as there are any waits."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waits: set[_Wait] = set()
        self.thread: threading.Thread | None = None

    def add(self, wait: _Wait) -> None:
        with self.lock:
            self.waits.add(wait)
            if self.thread is None:
                self.thread = threading.Thread(target=self._tell, name="waits", daemon=True)
                self.thread.start()

    def forget(self) -> None:
        """Begin anew, in a process that was forked: the thread is not in it, and a lock may be
        held for ever."""
        self.lock, self.waits, self.thread = threading.Lock(), set(), None

    def remove(self, wait: _Wait) -> None:
        with self.lock:
            self.waits.discard(wait)

    def _tell(self) -> None:
        while True:
            time.sleep(min(1.0, FIRST_SECONDS / 10))
            now = time.monotonic()
            with self.lock:
                if not self.waits:
                    self.thread = None
                    return
                due = [wait for wait in self.waits if wait.due <= now]
            # Without the lock: standard error may be a pipe that nobody reads.
            for wait in due:
                _logger.warning("still waiting, after %s, %s", _span(now - wait.began), wait.what())
                wait.due = now + wait.pause
                wait.pause = min(2 * wait.pause, LONGEST_PAUSE_SECONDS)


_teller = _Teller()
os.register_at_fork(after_in_child=_teller.forget)


@contextlib.contextmanager
def told(what: str | Callable[[], str]) -> Iterator[None]:
    """Say what is waited for, if this block takes long, and again at growing intervals.

    `what` goes on after "still waiting": "for …", or "until …". It may be asked for when it is
    needed, on another thread.
    """
    wait = _Wait(what if callable(what) else lambda: what)
    _teller.add(wait)
    try:
        yield
    finally:
        _teller.remove(wait)


def told_each(items: Iterable[_Item], what: Callable[[], str]) -> Iterator[_Item]:
    """Give items on; the wait for each is one of told()."""
    iterator = iter(items)
    with contextlib.suppress(StopIteration):
        while True:
            with told(what):
                item = next(iterator)
            yield item


class Telling:
    """A wait with news in between, after each of which it counts as a new one (see told())."""

    def __init__(self, what: Callable[[], str]) -> None:
        self._what = what
        self._told = contextlib.ExitStack()
        self._is_told = False

    def note(self, *, is_waiting: bool, has_news: bool) -> None:
        """Say how it stands, now and then."""
        if has_news or not is_waiting:
            self.close()
        if is_waiting and not self._is_told:
            self._told.enter_context(told(self._what))
            self._is_told = True

    def close(self) -> None:
        """Nothing is waited for any more."""
        self._told.close()
        self._is_told = False


@contextlib.contextmanager
def ended_by_signals(exit_codes: Mapping[int, int], name: str) -> Iterator[None]:
    """See to it that after one of these signals this process ends soon, with the exit code that is
    given for it. `name` is what people call the program.

    The signals' handlers are the caller's affair, and are to end the process in good order; there
    must be handlers, set in Python. What is left by a process that ends here is what one leaves
    that was killed, which is no harm.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # Written to by the C part of Python's handlers, at once, whatever the main thread does.
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    thread = threading.Thread(
        target=_end_after_signal, args=(reader, exit_codes, name), name="signals", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)


def _end_after_signal(reader: int, exit_codes: Mapping[int, int], name: str) -> None:
    with open(reader, "rb", buffering=0) as stream:
        while said := stream.read(1):
            if said[0] in exit_codes:
                time.sleep(END_SECONDS)
                with contextlib.suppress(OSError):  # the terminal may be gone
                    give_back()
                    print(f"{name}: ended while something was waited for", file=sys.stderr)
                    sys.stderr.flush()
                os._exit(exit_codes[said[0]])


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
