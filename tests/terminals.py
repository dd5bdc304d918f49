# SPDX-License-Identifier: Apache-2.0
"""A terminal, as a person sits at: a command runs in it, and what is to be seen can be read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyte

CTRL_C, CTRL_Z = b"\x03", b"\x1a"


class Terminal:
    """What is drawn by the command in it."""

    def __init__(self, process: subprocess.Popen[bytes], own: int, size: tuple[int, int]) -> None:
        self.process = process
        self.drawn = bytearray()
        self._own = own
        self._screen = pyte.HistoryScreen(*size, history=1000)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def lines(self) -> list[str]:
        """What is to be seen, without blank lines at the end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().split("\n")

    @property
    def text(self) -> str:
        """That, with what has scrolled by."""
        past = [
            "".join(line[column].data for column in range(self._screen.columns)).rstrip()
            for line in self._screen.history.top
        ]
        return "\n".join((*past, *self.lines))

    @property
    def has_cursor(self) -> bool:
        """Whether the cursor is to be seen."""
        return not self._screen.cursor.hidden

    @property
    def column(self) -> int:
        """Where the cursor is."""
        return self._screen.cursor.x

    def look(self, seconds: float = 0.1) -> bool:
        """See what is drawn; say whether more may come."""
        if not select.select([self._own], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._own, 1 << 16)
        except OSError:  # as pty(7) ends
            return False
        self.drawn += data
        self._stream.feed(data)
        return bool(data)

    def look_until(self, is_right: Callable[[Terminal], bool], seconds: float = 30) -> None:
        """See what is drawn until it is as it should be."""
        give_up = time.monotonic() + seconds
        while not is_right(self):
            assert time.monotonic() < give_up, self.text
            assert self.look() or is_right(self), self.text

    def look_for(self, words: str) -> None:
        """See what is drawn until these words are to be seen, however far from each other."""
        self.look_until(lambda seen: words in " ".join(seen.text.split()))

    def look_to_the_end(self, seconds: float = 60) -> int:
        """See all that is drawn; return the command's exit code."""
        give_up = time.monotonic() + seconds
        while self.look():
            assert time.monotonic() < give_up, self.text
        return self.process.wait(10)

    def type(self, text: bytes) -> None:
        """Press keys."""
        os.write(self._own, text)

    def resize(self, columns: int, lines: int) -> None:
        """Have another size."""
        set_size(self._own, columns, lines)
        self._screen.resize(lines, columns)


def set_size(descriptor: int, columns: int, lines: int) -> None:
    """Give a terminal a size."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@contextlib.contextmanager
def terminal(
    command: Sequence[str | Path],
    *,
    directory: Path,
    environment: Mapping[str, str],
    size: tuple[int, int] = (80, 24),
    output: Path | None = None,
) -> Iterator[Terminal]:
    """Run a command in a terminal of so many columns and lines; its standard output may go to a
    file."""
    own, other = pty.openpty()
    set_size(other, *size)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, own)
        out = other if output is None else stack.enter_context(output.open("wb")).fileno()
        process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            cwd=directory,
            env={"TERM": "xterm-256color", **environment},
            stdin=other,
            stdout=out,
            stderr=other,
        )
        os.close(other)
        try:
            yield Terminal(process, own, size)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
