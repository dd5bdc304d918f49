# SPDX-License-Identifier: Apache-2.0
"""Starts an engine with the program of a sandbox's first process, which has the engine start it.

The program is the engine's command, given by descriptor: nothing of it is in the image, and of the
engine's own scripts, variables and exit codes none matters. It ends when nobody listens to it any
more, and all of the sandbox with it; the engine then ends, too, and tidies up.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Mapping

from cwl_udss.machine.umask import own_umask
from cwl_udss.runtimes.machine_code.command import execute
from cwl_udss.runtimes.machine_code.program import Program
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.seccomp import seccomp_program
from cwl_udss.runtimes.starting import starting
from cwl_udss.runtimes.status import Made, channel
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.runtimes.unshare.initial import Descriptors, Initial, become_command
from cwl_udss.runtimes.unshare.privileges import restrict
from cwl_udss.runtimes.words import fill, program_file
from cwl_udss.sandbox import Sandbox

# Those that an engine hands on: with `podman run --preserve-fds` they are the first that there are.
_STATUS, _PROGRAM = 3, 4
HANDED_ON = 2
"""How many descriptors an engine has to hand on, besides the standard streams."""
FIRST_PROGRAM = f"/proc/self/fd/{_PROGRAM}"
"""The engine's command."""
_OUT_OF_THE_WAY = 10
_STANDARD_ERROR = 2
_SET_PARENT_DEATH_SIGNAL = 1  # linux/prctl.h


def launch(
    command: tuple[str, ...],
    environment: Mapping[str, str],
    sandbox: Sandbox,
    pipes: Pipes,
    afterwards: contextlib.ExitStack,
) -> RuntimeProcess:
    """Start an engine by its command line, which has FIRST_PROGRAM as its command. `afterwards` is
    closed when all have ended. Raises SandboxError."""
    words, other = channel()
    with starting(command[0], [words.descriptor]) as deferral, contextlib.ExitStack() as stack:
        stack.enter_context(other)
        # Ctrl-C at a command's terminal is the command's, and may end the engine, too.
        dies = not pipes.is_typed_at
        initial = Initial(Descriptors(status=_STATUS, program=_PROGRAM))
        content = _first_program(initial, sandbox, dies_with_parent=dies)
        status, program, mover = (
            _moved(stack, number)
            for number in (os.dup(other.fileno()), program_file(), program_file())
        )
        fill(program, content)
        fill(mover, _handing_on((status, program, mover), command, environment, dies=dies))
        process = subprocess.Popen(
            [f"/proc/self/fd/{mover}"],
            stdin=pipes.stdin,
            stdout=pipes.stdout,
            stderr=pipes.stderr,
            env={},
            pass_fds=(status, program, mover),
            cwd="/",
            start_new_session=pipes.needs_own_session(),
        )
    return RuntimeProcess(
        process,
        pipes.relay,
        deferral,
        words,
        afterwards=afterwards.pop_all(),
        explain=initial.explain,
        made=Made(tells_all=True, tidies_up=True),
    )


def _first_program(initial: Initial, sandbox: Sandbox, *, dies_with_parent: bool) -> bytes:
    calls = list(restrict(initial.program, seccomp_program()))
    program = initial.program
    command = program.call("umask", own_umask())  # podman has set another
    command += become_command(program, sandbox, initial.status)
    return initial.content(calls, command, dies_with_parent=dies_with_parent, knows_number=False)


def _handing_on(
    descriptors: tuple[int, int, int],
    command: tuple[str, ...],
    environment: Mapping[str, str],
    *,
    dies: bool,
) -> bytes:
    """Return a program that gives the descriptors, of which the last is its own, the numbers that
    they are to have, and becomes the engine, which `dies` with us."""
    status, own_program, mover = descriptors
    program = Program()
    call = program.call
    message = f"cwl-udss: {command[0]} cannot be executed\n".encode(errors="surrogateescape")
    code = (
        # One that hangs would hang for ever; else the first program ends all.
        call("prctl", _SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0) if dies else b"",
        call("dup3", status, _STATUS, 0),
        call("dup3", own_program, _PROGRAM, 0),
        *(call("close", number) for number in (status, own_program, mover)),
        execute(program, command, environment),
        program.say(_STANDARD_ERROR, message),
        call("exit_group", 1),
    )
    return program.elf(b"".join(code))


def _moved(stack: contextlib.ExitStack, descriptor: int) -> int:
    """Return another number for a descriptor, one that is in nobody's way."""
    try:
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)
    finally:
        os.close(descriptor)
    stack.callback(os.close, moved)
    return moved
