# SPDX-License-Identifier: Apache-2.0
"""A table on a terminal that is drawn anew as things go on, with what else is said above it.

The cursor is never hidden, so that no end of this process, however sudden, leaves a terminal
without one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from cwl_udss.progress.mode import is_in_foreground

_FRAME_SECONDS = 0.5
_USUAL_SIZE = (80, 24)

Frame = Callable[[int, int], Sequence[str]]
"""The lines of a table in so many columns and lines."""


class _Console(Console):
    def show_cursor(self, show: bool = True) -> bool:
        """Leave the cursor as it is."""
        return False


class Screen:
    """A terminal, for any number of threads. One that is gone is no failure."""

    def __init__(self, terminal: TextIO, frame: Frame) -> None:
        self._terminal = terminal
        self._frame = frame
        self._console = _Console(file=terminal, force_terminal=True, highlight=False)
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._drawn: object = None
        self._ended = threading.Event()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Draw in this block; what it shows at the end stays."""
        drawing = threading.Thread(target=self._draw_to_the_end, name="progress", daemon=True)
        with _stopped_by_ctrl_z(self._leave_alone):
            self._draw()
            drawing.start()
            try:
                yield
            finally:
                self._ended.set()
                drawing.join()
                self._draw()
                self._leave_alone()

    def say(self, text: str, style: str = "") -> None:
        """Write above the table."""
        with self._lock, self._not_fatal():
            self._console.size = self.size
            lines = text.splitlines() or [""]
            plain = "\n".join(
                "".join(c if c.isprintable() else " " for c in line) for line in lines
            )
            self._console.print(Text(plain, style=style), soft_wrap=True)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        with contextlib.suppress(OSError):
            columns, lines = os.get_terminal_size(self._terminal.fileno())
            return columns or _USUAL_SIZE[0], lines or _USUAL_SIZE[1]
        return _USUAL_SIZE

    def _draw_to_the_end(self) -> None:
        while not self._ended.wait(_FRAME_SECONDS):
            self._draw()

    def _draw(self) -> None:
        with self._lock, self._not_fatal():
            if not is_in_foreground(self._terminal.fileno()):
                return
            self._console.size = size = self.size
            lines = self._frame(*size)
            if self._live is not None and (size, lines) == self._drawn:
                return
            self._drawn = size, lines
            text = Text("\n".join(lines), no_wrap=True, overflow="crop")
            if self._live is None:
                self._live = Live(
                    text,
                    console=self._console,
                    auto_refresh=False,
                    redirect_stdout=False,
                    redirect_stderr=False,
                    vertical_overflow="crop",
                )
                self._live.start(refresh=True)
            else:
                self._live.update(text, refresh=True)

    def _leave_alone(self) -> None:
        """Leave what there is to be seen as it is: what comes next is drawn below."""
        with self._lock, self._not_fatal():
            live, self._live = self._live, None
            if live is not None:
                live.stop()

    @contextlib.contextmanager
    def _not_fatal(self) -> Iterator[None]:
        try:
            yield
        except OSError:  # whoever sat there has gone
            self._ended.set()


@contextlib.contextmanager
def _stopped_by_ctrl_z(before: Callable[[], None]) -> Iterator[None]:
    """Have `before` called before this process is stopped by its terminal."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL
    ):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        before()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Here again it goes on.
        signal.signal(number, stop)

    signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
