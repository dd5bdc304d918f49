# SPDX-License-Identifier: Apache-2.0
"""What is there around a container: a root filesystem, a bundle and a state directory in memory, of
which nothing is left whoever is killed; then the runtime makes the container from them, and ends.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence

from cwl_udss.runtimes.machine_code.command import execute
from cwl_udss.runtimes.machine_code.program import Call, Program, Variable
from cwl_udss.runtimes.oci.first import PROGRAM, STATUS
from cwl_udss.runtimes.unshare.assembly import FILES
from cwl_udss.runtimes.unshare.file_calls import AT_CWD, mkdir, mount, write_file

BUNDLE, STATE = f"{FILES}/bundle", f"{FILES}/state"
_FIRST = f"{FILES}/first"
_CONTROL_GROUPS, _UNIFIED = "/sys/fs/cgroup", "/sys/fs/cgroup/unified"
_FILE = "first program"
_BIND, _RECURSIVE = 4096, 16384  # linux/mount.h


def prepare(configuration: bytes, first: bytes) -> Iterator[Call]:
    """Make the bundle, beside a root filesystem that is the current directory, and have the system
    as the runtime expects it."""
    yield mkdir(BUNDLE)
    yield from write_file(f"{BUNDLE}/config.json", configuration)
    yield from write_file(_FIRST, first, mode=0o755)
    # Of the new PID namespace; crun and runc look at themselves there.
    yield mount("proc", "/proc", None, _BIND)
    # Read-only: where a user has control groups of their own, runc would make one that stays.
    yield mount("sys", "/sys", None, _BIND | _RECURSIVE)
    # crun does not start where there are both versions of control groups, though it needs none.
    if os.path.ismount(_UNIFIED):
        yield mount(_UNIFIED[1:], _CONTROL_GROUPS, None, _BIND)


def become_runtime(program: Program, command: Sequence[str], status: int) -> bytes:
    """Become the runtime, with the descriptors that it is to hand on."""
    purpose = "the first program cannot be handed on"
    calls = (
        # To itself, it stays open as it is.
        Call(name="dup3", arguments=(status, STATUS, 0), purpose=purpose, tolerated=errno.EINVAL),
        Call(
            name="openat",
            arguments=(AT_CWD, os.fsencode(_FIRST) + b"\0", os.O_RDONLY, 0),
            purpose=purpose,
            result=_FILE,
        ),
        Call(
            name="dup3",
            arguments=(Variable(_FILE), PROGRAM, 0),
            purpose=purpose,
            tolerated=errno.EINVAL,
        ),
    )
    return b"".join(
        (
            program.make_calls(calls, program.memory.add(bytes(16))),
            execute(program, tuple(command), {}),
            program.call("exit_group", 127),
        )
    )
