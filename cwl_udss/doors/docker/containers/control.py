# SPDX-License-Identifier: Apache-2.0
"""Containers that run, or have: `podman kill`, `stop`, `rm`, `wait`."""

from __future__ import annotations

import signal
import time

from cwl_udss.doors.container import send_signal
from cwl_udss.doors.docker.containers.ending import (
    KILL_SECONDS,
    end,
    find,
    signal_number,
    wait_for_end,
)
from cwl_udss.doors.docker.containers.naming import all_names, do_each, parse_names
from cwl_udss.doors.docker.errors import ContainerError, UsageError
from cwl_udss.doors.docker.options import KILL, PRUNE, REMOVE, STOP, WAIT
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.table import EXITED, Entry
from cwl_udss.runtimes.namespace import kill_namespace

_PAUSE_SECONDS = 0.02


def kill(session: Session, arguments: list[str]) -> int:
    """Send a signal to containers."""
    options = parse_names(session, KILL, arguments)
    number = signal_number(options.signal or "KILL")

    def send(entry: Entry) -> None:
        state = session.table.state(entry)
        if not state.is_running or state.first is None:
            raise ContainerError(f"container {entry.id} is not running")
        if not send_signal(state.first, state.generations, number) and number == signal.SIGKILL:
            kill_namespace(state.first)
        if number == signal.SIGKILL:
            wait_for_end(session, entry, KILL_SECONDS)

    return do_each(session, all_names(session, options), send)


def stop(session: Session, arguments: list[str]) -> int:
    """Have containers end: asked first, killed later."""
    options = parse_names(session, STOP, arguments)
    seconds = None if options.time is None else _seconds(options.time)
    return do_each(
        session,
        all_names(session, options),
        lambda entry: end(session, entry, entry.stop_seconds if seconds is None else seconds),
    )


def remove(session: Session, arguments: list[str]) -> int:
    """Forget containers."""
    options = parse_names(session, REMOVE, arguments)

    def go(entry: Entry) -> None:
        if session.table.state(entry).is_running:
            if not options.force:
                raise ContainerError(
                    f"cannot remove container {entry.id} as it is running",
                    "stop it before, or use --force",
                )
            end(session, entry, 0)
        session.table.remove(entry)

    names = all_names(session, options)
    if options.force or options.ignore:
        names = [name for name in names if session.table.find(name) is not None]
    return do_each(session, names, go)


def prune(session: Session, arguments: list[str]) -> int:
    """Forget all containers that have ended."""
    DoorParser(PRUNE, f"{session.program.value} container prune [OPTIONS]").parse(arguments)
    for entry in session.table.all():
        if session.table.state(entry).status == EXITED:
            session.table.remove(entry)
            print(entry.id)
    return 0


def wait(session: Session, arguments: list[str]) -> int:
    """Wait for the ends of containers, and print their exit codes."""
    options = parse_names(session, WAIT, arguments)
    for name in all_names(session, options):
        entry = find(session, name)
        state = session.table.state(entry)
        while state.status != EXITED:
            time.sleep(_PAUSE_SECONDS)
            state = session.table.state(entry)
        print(state.exit_code if state.exit_code is not None else 0)
    return 0


def _seconds(text: str) -> float:
    try:
        return float(text) if float(text) >= 0 else float("inf")
    except ValueError as error:
        raise UsageError(f"invalid time {text!r}") from error
