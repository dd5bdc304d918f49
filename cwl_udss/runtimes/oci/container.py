# SPDX-License-Identifier: Apache-2.0
"""What is there around a container: a root filesystem, a bundle and a state directory in memory, of
which nothing is left whoever is killed; then the runtime makes the container from them, and ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cwl_udss.runtimes.machine_code.command import execute
from cwl_udss.runtimes.machine_code.program import Call, Program
from cwl_udss.runtimes.oci.first import PROGRAM, STATUS
from cwl_udss.runtimes.unshare.assembly import FILES
from cwl_udss.runtimes.unshare.file_calls import mkdir, mount, write_file

BUNDLE, STATE = f"{FILES}/bundle", f"{FILES}/state"
_CONTROL_GROUPS, _UNIFIED = "/sys/fs/cgroup", "/sys/fs/cgroup/unified"
_BIND, _RECURSIVE = 4096, 16384  # linux/mount.h
_STANDARD_ERROR = 2


@dataclass(frozen=True)
class Own:
    """Descriptors for the container's first process."""

    status: int
    """Where it says what there is to say."""
    first: int
    """Its program."""


def prepare(configuration: bytes) -> Iterator[Call]:
    """Make the bundle, beside a root filesystem that is the current directory, and have the system
    as the runtime expects it."""
    yield mkdir(BUNDLE)
    yield from write_file(f"{BUNDLE}/config.json", configuration)
    # Of the new PID namespace; crun and runc look at themselves there.
    yield mount("proc", "/proc", None, _BIND)
    # Read-only: where a user has control groups of their own, runc would make one that stays.
    yield mount("sys", "/sys", None, _BIND | _RECURSIVE)
    # crun does not start where there are both versions of control groups, though it needs none.
    if os.path.ismount(_UNIFIED):
        yield mount(_UNIFIED[1:], _CONTROL_GROUPS, None, _BIND)


def become_runtime(
    program: Program, command: Sequence[str], environment: Mapping[str, str], own: Own
) -> bytes:
    """Become the runtime, which hands descriptors on by their numbers: from 3 on."""
    between = max(own.status, own.first) + 1
    copies = (
        *((own.status, between, os.O_CLOEXEC), (own.first, between + 1, os.O_CLOEXEC)),
        *((between, STATUS, 0), (between + 1, PROGRAM, 0)),
    )
    message = f"cwl-udss: {command[0]} cannot be executed\n".encode()
    return b"".join(
        (
            *(program.call("dup3", *copy) for copy in copies),
            execute(program, tuple(command), environment),
            program.say(_STANDARD_ERROR, message) + program.call("exit_group", 127),
        )
    )
