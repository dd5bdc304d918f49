# SPDX-License-Identifier: Apache-2.0
"""What PRoot, Landlock and seccomp together cannot keep, or do not have, said beforehand."""

from __future__ import annotations

from cwl_udss.runtimes.proot.landlock import CAN_MOVE, CAN_SCOPE
from cwl_udss.sandbox import Limit

METADATA = Limit(
    name="metadata-writable",
    text="a tool can change the modes, times and extended attributes of its inputs and of the "
    "image, where they are yours; never what is in them",
)
SIGNALS = Limit(
    name="processes-signalled",
    text="a tool can send signals to your other processes, and reach abstract sockets "
    "(Landlock before Linux 6.12)",
)
LOOPBACK = Limit(
    name="no-loopback",
    text="without NetworkAccess there is not even a loopback of the step's own",
    is_weakness=False,
)
PROCESSES = Limit(
    name="no-proc-pid",
    text="nothing of /proc tells of processes, not even of the step's own",
    is_weakness=False,
)
HOST_NAME = Limit(
    name="host-name",
    text="a tool sees this machine's name",
    is_weakness=False,
)
IPC = Limit(
    name="no-ipc",
    text="there is no System V IPC and there are no POSIX message queues",
    is_weakness=False,
)
SHARED_MEMORY = Limit(
    name="no-shm-limit",
    text="/dev/shm has no limit (ShmSize), or is on the scratch directory",  # noqa: S108
    is_weakness=False,
)
MOVES = Limit(
    name="no-moves",
    text="files cannot be moved between directories but by copying (Landlock before Linux 5.19)",
    is_weakness=False,
)


WEAKNESSES = (METADATA, SIGNALS)
"""Those that a person must accept."""


def limits_of(abi: int) -> tuple[Limit, ...]:
    """Return the limits with a Landlock of this ABI."""
    limits = [METADATA, HOST_NAME, LOOPBACK, PROCESSES, IPC, SHARED_MEMORY]
    limits += [SIGNALS] if abi < CAN_SCOPE else []
    limits += [MOVES] if abi < CAN_MOVE else []
    return tuple(limits)
