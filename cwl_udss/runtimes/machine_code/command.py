# SPDX-License-Identifier: Apache-2.0
"""Becoming a command, as execvp(3) does it, and waiting for its end."""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Mapping

from cwl_udss.runtimes.machine_code.program import Program

ANY = 0xFFFFFFFF
"""-1, for wait4(2)."""
NO_CHILD = -errno.ECHILD & 0xFFFFFFFF
"""What wait4(2) returns if there is nobody to wait for."""
_CHILDREN = 0xFFFFFFFF
"""-1, for getrusage(2): all that were waited for, and what they have waited for."""
CHILD_HAS_ENDED = 17
"""SIGCHLD."""
_USAGE = 8  # where in it the latter is
_DEFAULT_PATH = "/bin:/usr/bin"  # of execvp(3)
_SHELL = b"/bin/sh"  # which execvp(3) has read what the kernel does not know


def execute(program: Program, command: tuple[str, ...], environment: Mapping[str, str]) -> bytes:
    """Become a command; go on if that cannot be."""
    call, memory = program.call, program.memory
    words = [os.fsencode(word) for word in command]
    variables = memory.words([os.fsencode(f"{k}={v}") for k, v in environment.items()])
    arguments, shell = memory.words(words), memory.constant(_SHELL + b"\0")
    code = b""
    for place in search_places(command[0], environment):
        path = os.fsencode(place)
        script = memory.words([b"sh", path, *words[1:]])
        code += call("execve", memory.constant(path + b"\0"), arguments, variables)
        by_shell = call("execve", shell, script, variables)
        code += program.processor.if_result(-errno.ENOEXEC & 0xFFFFFFFF, by_shell)
    return code


def search_places(name: str, environment: Mapping[str, str]) -> list[str]:
    """Return where a command of this name may be, as execvp(3) looks for it."""
    if "/" in name or not name:
        return [name]
    directories = environment.get("PATH", _DEFAULT_PATH).split(":")
    return [posixpath.join(directory, name) for directory in directories]


def wait(program: Program, status: int, options: int = 0) -> bytes:
    """Wait for any child; `status` is where there is room for what ended() reads."""
    return program.call("wait4", ANY, status, options, status + _USAGE)


def count_all(program: Program, status: int) -> bytes:
    """Put in the place of what the command has used what all have used that have ended, also those
    whom it has not waited for, and who are left to the first process."""
    nobody = program.memory.constant(bytes(8))
    waited = program.call("wait4", ANY, 0, os.WNOHANG, 0)
    waited += program.processor.if_result(NO_CHILD, program.processor.load(nobody))
    counted = program.call("getrusage", _CHILDREN, status + _USAGE)
    return program.processor.repeat_until(nobody, waited) + counted


def end_like(program: Program, status: int) -> bytes:
    """End with 0 if what was waited for has ended so, else with 1."""
    failed = program.processor.unless_result(0, program.call("exit_group", 1))
    return program.processor.load(status) + failed + program.call("exit_group", 0)
