# SPDX-License-Identifier: Apache-2.0
"""Signals that end a run, and its exit codes then."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import NoReturn

from cwl_udss.machine.waiting import ended_by_signals
from cwl_udss.sandbox import SIGNAL_OFFSET

INTERRUPTED = 130  # as a shell reports a process that SIGINT has ended
# cwltool's own for SIGTERM is its number. SIGHUP it leaves to the system.
EXIT_CODES: Mapping[int, int] = {
    signal.SIGTERM: int(signal.SIGTERM),
    signal.SIGINT: INTERRUPTED,
    signal.SIGHUP: SIGNAL_OFFSET + signal.SIGHUP,
}


@contextlib.contextmanager
def ending_signals() -> Iterator[list[int]]:
    """Have these signals end this process, soon; give a list of those that have come."""
    received: list[int] = []
    signal.signal(signal.SIGTERM, functools.partial(_exit_on_signal, received))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else nohup(1)
        signal.signal(signal.SIGINT, functools.partial(_exit_on_signal, received))
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, functools.partial(_exit_on_signal, received))
    with ended_by_signals(EXIT_CODES, "cwltool"):
        yield received


def _exit_on_signal(received: list[int], number: int, frame: FrameType | None) -> NoReturn:
    """End as after an error. The signal is noted, as schema-salad makes an error of its own of any
    exception on its way (SourceLine.__exit__)."""
    received.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(EXIT_CODES[number])
