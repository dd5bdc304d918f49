# SPDX-License-Identifier: Apache-2.0
"""The first process of a container: starts the command, waits for all that ends there, and says how
the command has ended.

What is sent to the first process of a PID namespace from within is lost, if it does not ask for it
(pid_namespaces(7)): a command that ends itself by a signal would go on. And what it starts and
leaves behind would be the command's to wait for.
"""

from __future__ import annotations

import os

from cwl_udss.machine.umask import own_umask
from cwl_udss.runtimes.machine_code.command import (
    CHILD_HAS_ENDED,
    count_all,
    end_like,
    wait,
)
from cwl_udss.runtimes.machine_code.ended import ENDED
from cwl_udss.runtimes.machine_code.program import Program
from cwl_udss.runtimes.seccomp import seccomp_program
from cwl_udss.runtimes.status import HAS_ENDED
from cwl_udss.runtimes.unshare.initial import become_command, make_calls
from cwl_udss.runtimes.unshare.privileges import give_up, take_identity
from cwl_udss.sandbox import Sandbox

STATUS, PROGRAM = 3, 4
"""Descriptors that it is given: where it says what there is to say, and itself."""

_SET_DESCRIPTOR_FLAGS, _CLOSE_ON_EXEC = 2, 1  # fcntl(2)
_BLOCK, _SET_MASK, _SIGNALS_BYTES = 0, 2, 8  # rt_sigprocmask(2)


def first_program(program: Program, sandbox: Sandbox) -> bytes:
    """Return the program, made of one that is empty."""
    call, memory = program.call, program.memory
    mask, number = memory.add(bytes(_SIGNALS_BYTES)), memory.add(bytes(8))
    end = memory.add(HAS_ENDED + bytes(ENDED.size))
    every_signal = memory.constant(b"\xff" * _SIGNALS_BYTES)
    return program.elf(
        b"".join(
            (
                call("fcntl", STATUS, _SET_DESCRIPTOR_FLAGS, _CLOSE_ON_EXEC),
                call("close", PROGRAM),
                # What is sent to all processes of a group or session is for the command.
                call("rt_sigprocmask", _BLOCK, every_signal, mask, _SIGNALS_BYTES),
                call("clone", CHILD_HAS_ENDED, 0, 0, 0, 0),
                program.processor.store(number),
                program.processor.if_result(0, _command(program, sandbox, mask)),
                program.processor.repeat_until(number, wait(program, end + len(HAS_ENDED))),
                count_all(program, end + len(HAS_ENDED)),
                call("write", STATUS, end, len(HAS_ENDED) + ENDED.size),
                end_like(program, end + len(HAS_ENDED)),
            )
        )
    )


def _command(program: Program, sandbox: Sandbox, mask: int) -> bytes:
    """Be the caller again, with no way to more, and become the command. Whoever waits for it stays
    outside of the user namespace in which that is: the command cannot trace it."""
    calls = [*take_identity(os.geteuid(), os.getegid()), *give_up(program, seccomp_program())]
    return b"".join(
        (
            make_calls(program, calls, STATUS),
            program.call("umask", own_umask()),  # crun and runc have set another
            program.call("rt_sigprocmask", _SET_MASK, mask, 0, _SIGNALS_BYTES),
            become_command(program, sandbox, STATUS),
        )
    )
