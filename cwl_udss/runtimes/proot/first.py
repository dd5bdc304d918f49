# SPDX-License-Identifier: Apache-2.0
"""The first program of a sandbox that PRoot makes: starts the command, and says how it has ended.

PRoot's own exit status is that of the process that ended last, and 0 if the command was killed
(its issue 146); and what LD_PRELOAD names in the command's environment would be loaded into PRoot,
which hands its own on. A shell of the image could stand between them, if the image had one, and if
shells took any name for a variable. So a program is made for each step, in which all is decided:
command, environment and places in which to look are constants.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cwl_udss.runtimes.machine_code.command import CHILD_HAS_ENDED, execute, wait
from cwl_udss.runtimes.machine_code.ended import ENDED
from cwl_udss.runtimes.machine_code.program import Program
from cwl_udss.runtimes.proot.request import FIRST_DESCRIPTOR
from cwl_udss.sandbox import Sandbox

IS_RUNNING, NO_DIRECTORY, NOT_EXECUTED = b"r", b"d", b"x"
"""What it says: that it runs; that the working directory, the command cannot be used. Then what
wait4(2) has said of the command, see ended()."""

_SIGNALS_BYTES = 8
_SET_DESCRIPTOR_FLAGS, _CLOSE_ON_EXEC = 2, 1  # fcntl(2)
_BLOCK, _SET_MASK = 0, 2  # rt_sigprocmask(2)


def first_program(
    command: tuple[str, ...],
    environment: Mapping[str, str],
    working_directory: str,
    descriptor: int,
    machine: str | None = None,
) -> bytes:
    """Return the program, which says what there is to say to a descriptor.

    Raises SandboxError on an architecture whose instructions are not known here.
    """
    program = Program(machine)
    call, memory = program.call, program.memory
    signals, status = memory.add(bytes(_SIGNALS_BYTES)), memory.add(bytes(ENDED.size))
    all_signals = memory.constant(b"\xff" * _SIGNALS_BYTES)
    failed = program.say(descriptor, NO_DIRECTORY) + call("exit_group", 1)
    child = b"".join(
        (
            call("rt_sigprocmask", _SET_MASK, signals, 0, _SIGNALS_BYTES),
            execute(program, command, environment),
            program.say(descriptor, NOT_EXECUTED) + call("exit_group", 127),
        )
    )
    code = (
        program.say(descriptor, IS_RUNNING),
        call("fcntl", descriptor, _SET_DESCRIPTOR_FLAGS, _CLOSE_ON_EXEC),
        call("chdir", memory.constant(os.fsencode(working_directory) + b"\0")),
        program.processor.unless_result(0, failed),
        # What is sent to all processes of a group or session is for the command.
        call("rt_sigprocmask", _BLOCK, all_signals, signals, _SIGNALS_BYTES),
        call("clone", CHILD_HAS_ENDED, 0, 0, 0, 0),
        program.processor.if_result(0, child),
        wait(program, status),
        call("write", descriptor, status, ENDED.size),
        call("exit_group", 0),
    )
    return program.elf(b"".join(code))


def write_first_program(path: Path, sandbox: Sandbox) -> None:
    """Write the program that starts a sandbox's command to a file, which can be executed. Raises
    OSError, and SandboxError as first_program() does."""
    path.write_bytes(
        first_program(
            sandbox.command, sandbox.environment, sandbox.working_directory, FIRST_DESCRIPTOR
        )
    )
    path.chmod(0o500)
