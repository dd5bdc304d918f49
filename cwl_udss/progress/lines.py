# SPDX-License-Identifier: Apache-2.0
"""A line now and then, where there is no terminal to draw on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

LINE_SECONDS = 30.0
"""At most every so many seconds there is a line, and only if something has changed."""


class Lines:
    """Says how it stands, on a thread of its own."""

    def __init__(
        self, say: Callable[[str], None], summary: Callable[[], str], state: Callable[[], object]
    ) -> None:
        """`state` is what changes."""
        self._say = say
        self._summary = summary
        self._state = state
        self._last: object = None
        self._ended = threading.Event()
        self.has_said = False

    @contextlib.contextmanager
    def said(self) -> Iterator[None]:
        """Say it in this block."""
        self._last = self._state()
        thread = threading.Thread(target=self._say_to_the_end, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _say_to_the_end(self) -> None:
        while not self._ended.wait(LINE_SECONDS):
            self.say_change()

    def say_change(self) -> None:
        """Say how it stands, if something has changed."""
        state = self._state()
        if state != self._last:
            self._last, self.has_said = state, True
            self._say(self._summary())
