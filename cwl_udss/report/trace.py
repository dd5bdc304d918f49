# SPDX-License-Identifier: Apache-2.0
"""Where the driver's time goes, as Chrome's trace events (`--udss-trace-events FILE`).

To be looked at with https://ui.perfetto.dev or chrome://tracing. The format is that of "Trace Event
Format": an array of JSON objects, whose closing bracket may be missing after a crash.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from cwl_udss.errors import SettingsError

_logger = logging.getLogger(__name__)

_BEGINNING = "[\n"
_BUFFER_BYTES = 1 << 16
_nothing = contextlib.nullcontext()


class _Trace:
    """An open file of events, for any number of threads. A full disk ends it, and not the run."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._process = os.getpid()
        self._is_open = True
        self._write(_BEGINNING)

    def add(self, what: str, step: str, began: float, ended: float) -> None:
        """Add what was done for a step, in a word; times are those of time.perf_counter()."""
        # Written by hand, and _Noted is not a generator: together that halves what an event costs.
        arguments = f', "args": {json.dumps({"step": step})}' if step else ""
        # One write, so that threads do not mix their lines. "X" is a complete event; microseconds.
        self._write(
            f'{{"name": "{what}", "cat": "driver", "ph": "X", "ts": {began * 1e6:.1f}, '
            f'"dur": {(ended - began) * 1e6:.1f}, "pid": {self._process}, '
            f'"tid": {threading.get_native_id()}{arguments}}},\n'
        )

    def end(self) -> None:
        """Close the array, whose last element is no event, and the file."""
        metadata = {"name": "process_name", "ph": "M", "pid": self._process}
        self._write(json.dumps({**metadata, "args": {"name": "cwltool --udss"}}) + "\n]\n")
        if self._is_open:
            self._close()

    def _write(self, text: str) -> None:
        if not self._is_open:  # a thread may outlive the run
            return
        try:
            self._stream.write(text)
        except OSError:
            self._close()

    def _close(self) -> None:
        self._is_open = False
        try:
            self._stream.close()  # which writes what is left
        except OSError as error:
            _logger.warning("the trace %s is not whole: %s", self._stream.name, error.strerror)


_current: _Trace | None = None


@contextlib.contextmanager
def tracing(path: Path | None) -> Iterator[None]:
    """Write a trace to a file, if one is wanted. Raises SettingsError if it cannot be written."""
    global _current  # noqa: PLW0603 - as with logging: whoever works should not have to know of it
    if path is None:
        yield
        return
    _current = _Trace(_open(path))
    try:
        yield
    finally:
        _current.end()
        _current = None


def _open(path: Path) -> IO[str]:
    try:
        if path.is_file():
            # Who has forgotten FILE has named the workflow.
            with path.open("rb") as existing:
                if existing.read(len(_BEGINNING)) not in (b"", _BEGINNING.encode()):
                    raise SettingsError(
                        f"{path} is no trace, and is not overwritten", "name another file"
                    )
        return path.open("w", buffering=_BUFFER_BYTES, encoding="ascii")
    except OSError as error:
        raise SettingsError(
            f"the trace {path} cannot be written: {error.strerror}", "name another file"
        ) from error


def traced(what: str, step: str = "") -> AbstractContextManager[None]:
    """Note how long the block takes: a word of what it does, and for which step."""
    return _nothing if _current is None else _Noted(_current, what, step)


class _Noted:
    """Adds the time of a block to a trace."""

    __slots__ = ("_began", "_step", "_trace", "_what")

    def __init__(self, trace: _Trace, what: str, step: str) -> None:
        self._trace = trace
        self._what = what
        self._step = step
        self._began = time.perf_counter()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self._trace.add(self._what, self._step, self._began, time.perf_counter())


def note_since_start(what: str) -> None:
    """Note what has taken until now from the start of the process on."""
    if _current is not None:
        now = time.perf_counter()
        _current.add(what, "", now - _age(), now)


def _age() -> float:
    """Seconds since this process was started: proc_pid_stat(5), field 22, and proc_uptime(5)."""
    stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
    started = int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return float(Path("/proc/uptime").read_text(encoding="ascii").split()[0]) - started
