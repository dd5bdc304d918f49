# SPDX-License-Identifier: Apache-2.0
"""The first process of a sandbox's PID namespace, with which all others end: pid_namespaces(7)."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import time
from resource import struct_rusage

from cwl_udss.machine.waiting import told

WHY_NOT_ENDED = "a filesystem that it uses may hang"


def kill_namespace(process_id: int | None) -> None:
    """Kill the first process of a PID namespace, and so all of them.

    bwrap asks the kernel to do so when it dies, but only once the sandbox is set up.
    """
    if process_id is None:
        return
    with contextlib.suppress(OSError):  # it has ended
        with open(f"/proc/{process_id}/status", encoding="ascii", errors="replace") as stream:
            numbers = next(line.split()[1:] for line in stream if line.startswith("NSpid:"))
        if numbers[1:] and numbers[-1] == "1":  # else it is another of that number by now
            os.kill(process_id, signal.SIGKILL)


def signal_sessions(process_id: int, number: int) -> None:
    """Send a signal to the children of a process that lead sessions of their own, and to all of
    their group."""
    with contextlib.suppress(OSError):  # it has ended
        for child in children(process_id):
            if os.getsid(child) == os.getpgid(child) != os.getpgrp():
                os.killpg(child, number)


def command_process(first: int, own_generations: int) -> int | None:
    """Return the process of the command below the first one of its sandbox, which has so many
    generations of the runtime's own; None if it has not begun, or has ended."""
    number = first
    for _ in range(own_generations):
        # The first of several: what comes later are orphans.
        below = children(number)
        if not below:
            return None
        number = below[0]
    return number


def children(process_id: int) -> list[int]:
    """Return the children of a process, of all of its threads; none if it has ended."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{process_id}/task"):
            with open(f"/proc/{process_id}/task/{thread}/children", encoding="ascii") as stream:
                found += map(int, stream.read().split())
    return found


def entering(process: int) -> tuple[str, ...]:
    """Return the beginning of a command line that enters the user and mount namespaces of a
    process."""
    program = shutil.which("nsenter", path=os.defpath) or "nsenter"
    return (program, "--user", "--mount", "--preserve-credentials", f"--target={process}", "--")


def wait_for_end(process_id: int | None) -> None:
    """Wait until the first process of a PID namespace has ended, and with it all the others: the
    kernel ends the others first (zap_pid_ns_processes)."""
    if process_id is None:
        return
    with told(f"for process {process_id}, a sandbox's, and its children to end: {WHY_NOT_ENDED}"):
        try:
            _wait_by_descriptor(process_id)
        except ProcessLookupError:
            return
        except (AttributeError, OSError):  # Linux before 5.3, or a Python built for one
            _wait_by_looking(process_id)


def adopted(process_id: int) -> tuple[int, struct_rusage] | None:
    """How a process has ended that has become our child, and what it has used; None if it has not:
    its bwrap has waited for it."""
    try:
        number, status, usage = os.wait4(process_id, os.WNOHANG)
    except ChildProcessError:
        return None
    return (status, usage) if number else None


def descriptor_of(process_id: int) -> int | None:
    """A descriptor of a child that was not waited for, None on Linux before 5.3."""
    try:
        return os.pidfd_open(process_id)
    except (AttributeError, OSError):
        return None


def first_of_namespace(process_id: int | None) -> int | None:
    """A descriptor of a process that has been set up (see user_namespaces(7): uid_map is empty
    before), None if there is no such one."""
    try:
        with open(f"/proc/{process_id}/uid_map", encoding="ascii") as stream:
            is_set_up = stream.read().strip()
        return os.pidfd_open(process_id) if process_id and is_set_up else None
    except (OSError, AttributeError):  # it has ended; Linux before 5.3
        return None


def _wait_by_descriptor(process_id: int) -> None:
    descriptor = os.pidfd_open(process_id)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll()
    finally:
        os.close(descriptor)


def _wait_by_looking(process_id: int) -> None:
    while True:
        try:
            with open(f"/proc/{process_id}/stat", encoding="ascii", errors="replace") as stream:
                state = stream.read().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state in "ZX":  # dead; whose child it now is has not asked yet
            return
        time.sleep(0.001)
