# SPDX-License-Identifier: Apache-2.0
"""What a process gives up before it becomes a step's command, as system calls."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

from cwl_udss.runtimes.machine_code.program import Call, Program, Variable
from cwl_udss.runtimes.seccomp import INSTRUCTION_BYTES
from cwl_udss.runtimes.unshare.file_calls import AT_CWD

_NEW_USER_NAMESPACE = 0x10000000  # linux/sched.h
_WRITE_ONLY = 1
# linux/prctl.h
_SET_SECCOMP, _DROP_FROM_BOUNDING_SET, _NO_NEW_PRIVILEGES = 22, 24, 38
_AMBIENT_CAPABILITIES, _CLEAR_ALL = 47, 4
_SECCOMP_MODE_FILTER = 2
_MOST_CAPABILITIES = 64
# linux/capability.h: header and data of version 3.
_CAPABILITY_HEADER = struct.pack("=Ii", 0x20080522, 0)
_NO_CAPABILITIES = bytes(24)
_MAP = "map"
_PURPOSE = "privileges cannot be given up"


def take_identity(user: int, group: int, user_now: int = 0, group_now: int = 0) -> Iterator[Call]:
    """Be a user in another namespace within the one that the mounts belong to, so that nothing can
    be done to them. `unshare` has made the caller root there, the only mapping that old ones make.
    """
    purpose = "the user's identity cannot be had in the sandbox"
    yield Call(name="unshare", arguments=(_NEW_USER_NAMESPACE,), purpose=purpose)
    for name, number, now in (("uid_map", user, user_now), ("gid_map", group, group_now)):
        path, line = f"/proc/self/{name}\0".encode(), f"{number} {now} 1\n".encode()
        yield Call(
            name="openat", arguments=(AT_CWD, path, _WRITE_ONLY), purpose=purpose, result=_MAP
        )
        yield Call(name="write", arguments=(Variable(_MAP), line, len(line)), purpose=purpose)
        yield Call(name="close", arguments=(Variable(_MAP),), purpose=purpose)


def _drop_capabilities(program: Program) -> Iterator[Call]:
    """Have no capabilities after execve(2), not even as root: capabilities(7)."""
    for capability in range(_MOST_CAPABILITIES):
        yield Call(
            name="prctl",
            arguments=(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0),
            purpose=_PURPOSE,
            tolerated=errno.EINVAL,  # there are not so many
        )
    yield Call(
        name="prctl", arguments=(_AMBIENT_CAPABILITIES, _CLEAR_ALL, 0, 0, 0), purpose=_PURPOSE
    )
    header = program.memory.constant(_CAPABILITY_HEADER)
    yield Call(name="capset", arguments=(header, _NO_CAPABILITIES), purpose=_PURPOSE)


def give_up(program: Program, filter_: bytes) -> Iterator[Call]:
    """Have no capabilities, gain no privileges, and have a filter decide on system calls."""
    yield from _drop_capabilities(program)
    yield from restrict(program, filter_)


def restrict(program: Program, filter_: bytes) -> Iterator[Call]:
    """Gain no privileges, and have a filter decide on system calls."""
    yield Call(name="prctl", arguments=(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), purpose=_PURPOSE)
    # struct sock_fprog of linux/filter.h
    length = len(filter_) // INSTRUCTION_BYTES
    wanted = struct.pack("=HxxxxxxQ", length, program.memory.constant(filter_))
    yield Call(
        name="prctl", arguments=(_SET_SECCOMP, _SECCOMP_MODE_FILTER, wanted, 0, 0), purpose=_PURPOSE
    )
