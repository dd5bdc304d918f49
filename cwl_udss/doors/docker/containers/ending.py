# SPDX-License-Identifier: Apache-2.0
"""Finding a container, and having it end."""

from __future__ import annotations

import signal
import time

from cwl_udss.doors.container import send_signal
from cwl_udss.doors.docker.errors import NoSuchObject, Program, UsageError
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.table import EXITED, Entry
from cwl_udss.runtimes.namespace import kill_namespace

_PAUSE_SECONDS = 0.02
KILL_SECONDS = 10.0


def find(session: Session, name: str) -> Entry:
    """Return a container by its name or id. Raises NoSuchObject."""
    entry = session.table.find(name)
    if entry is not None and not (entry.remove and session.table.state(entry).status == EXITED):
        return entry
    if session.program is Program.PODMAN:
        raise NoSuchObject(f'no container with name or ID "{name}" found: no such container')
    raise NoSuchObject(f"No such container: {name}")


def end(session: Session, entry: Entry, patience: float) -> None:
    """Have a container end, and wait until it has."""
    state = session.table.state(entry)
    if not state.is_running or state.first is None:
        return
    if patience > 0:
        send_signal(state.first, state.generations, signal_number(entry.stop_signal))
        if wait_for_end(session, entry, patience):
            return
    kill_namespace(state.first)
    wait_for_end(session, entry, KILL_SECONDS)


def wait_for_end(session: Session, entry: Entry, seconds: float) -> bool:
    """Wait until a container has ended; say whether that came in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not session.table.state(entry).is_running:
            return True
        time.sleep(_PAUSE_SECONDS)
    return False


def signal_number(name: str) -> int:
    """Return the number of a signal by its name or number. Raises UsageError."""
    if name.isdecimal() and 0 < int(name) < signal.NSIG:
        return int(name)
    known = {f"SIG{name.upper().removeprefix('SIG')}"} & set(signal.Signals.__members__)
    if not known:
        raise UsageError(f"invalid signal: {name}")
    return signal.Signals[known.pop()].value
