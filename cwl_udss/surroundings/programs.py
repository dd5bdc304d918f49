# SPDX-License-Identifier: Apache-2.0
"""Why a program could not be executed in a sandbox, for the person.

execve(2) says "No such file or directory" also of a script whose interpreter is missing, and of a
program whose loader is. So what is there is looked at, as the sandbox has it, when the kernel has
refused it.
"""

from __future__ import annotations

import os
import platform
import posixpath
import stat
import struct
from dataclasses import dataclass

from cwl_udss.files.paths import follow_links, walk
from cwl_udss.filesystems.filesystem import user_name
from cwl_udss.runtimes.operations import SHARED_MEMORY, SPECIAL_MOUNTS
from cwl_udss.sandbox import Bind, Ending, Result, Sandbox
from cwl_udss.surroundings.executables import (
    ELF,
    beginning_of,
    interpreter_of,
    is_foreign,
    read_program,
)
from cwl_udss.surroundings.outputs import View

_MOST_INTERPRETERS = 5  # of a script's interpreter, that is a script: exec_binprm() in fs/exec.c
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DOS2UNIX = "its lines end as on Windows: convert it with dos2unix"

_MUSL_LOADER = "ld-musl-"


def why_not_executed(sandbox: Sandbox, result: Result) -> str:
    """Return why the kernel has not executed a sandbox's command, as far as that can be seen; "" if
    it has. Never raises OSError."""
    if result.ending not in (Ending.NOT_STARTED, Ending.EXITED) or not result.exit_code:
        return ""
    try:
        files = _Files(sandbox)
        name = sandbox.command[0] if sandbox.command else ""
        if result.ending is Ending.EXITED:
            return files.reason_for_shell(name)
        return files.reason(name)
    except OSError as error:
        return f"it cannot be looked at ({error.strerror or error})"


def has_directory(sandbox: Sandbox, path: str) -> bool:
    """Say whether a sandbox is going to have a directory at a path, as far as that can be seen."""
    in_memory = path.startswith(f"{SHARED_MEMORY}/")  # where there is nothing to begin with
    if not in_memory and any(f"{path}/".startswith(f"{place}/") for place in SPECIAL_MOUNTS):
        return True
    try:
        return stat.S_ISDIR(_Files(sandbox).mode(path))
    except OSError:
        return False


def is_executable_missing(sandbox: Sandbox) -> bool:
    """Say whether nothing is there of the name of a sandbox's command."""
    found = _Files(sandbox)._candidates(sandbox.command[0])
    return not any(place.mode for place in found)


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What is at a path of the sandbox."""

    path: str
    """Without links."""
    location: str | None = None
    """Where it can be looked at here; None if only the sandbox has it."""
    mode: int = 0
    """st_mode of stat(2), 0 for nothing."""
    problem: str = ""
    """Why nobody can get there."""


class _Files:
    """The files of a sandbox: of its image, and of its binds."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._root = str(sandbox.root.here)
        self._view = View(())  # to begin with the image only, whose links may be in binds' paths
        self._view = View(
            tuple(
                Bind(
                    source=bind.source,
                    destination=follow_links(bind.destination, self._link_target),
                )
                for bind in sandbox.binds
            )
        )

    def mode(self, path: str) -> int:
        """Return st_mode of stat(2) of what is at a path, 0 for nothing."""
        return self._find(path).mode

    def reason(self, name: str) -> str:
        """Say why a command of this name is not executed."""
        if not name:
            return "its name is empty"
        found = self._candidates(name)
        if found:
            return self._reason_of(found[0], name)
        return self._not_on_path(name)

    def reason_for_shell(self, name: str) -> str:
        """Say why a command of this name was left to a shell, "" if it was not: execvp(3) of glibc
        has that read what the kernel does not know."""
        for found in self._candidates(name)[:1]:
            if stat.S_ISREG(found.mode) and found.location is not None:
                beginning = beginning_of(found.location)
                if is_foreign(beginning):
                    return self._reason_of_content(found, beginning, depth=0)
        return ""

    def _candidates(self, name: str) -> list[_Found]:
        """What may be meant, the best first: execvp(3) goes on to the next directory of PATH."""
        if "/" in name:
            return [self._find(name)]
        found = [self._find(posixpath.join(directory, name)) for directory in self._directories()]
        return sorted(
            (place for place in found if place.mode),
            key=lambda place: not stat.S_ISREG(place.mode),
        )

    def _directories(self) -> list[str]:
        search = self._sandbox.environment.get("PATH", "")
        return search.split(":") if search else []

    def _not_on_path(self, name: str) -> str:
        directories = self._directories()
        first, *others = name.split()
        if others and any(self._find(posixpath.join(place, first)).mode for place in directories):
            return f"it is one word with spaces in it: give the words one by one ([{first}, …])"
        if self._find(name).mode:
            return f"it is in the working directory, where it is not looked for: name it ./{name}"
        if not directories:
            return "PATH is empty in the image: name it with its whole path"
        return f"no such program is in the image (PATH is {':'.join(directories)})"

    def _reason_of(self, found: _Found, name: str, depth: int = 0) -> str:
        """Say why what is at a path is not executed."""
        if found.problem:
            return f"{found.path} cannot be reached ({found.problem})"
        if not found.mode:
            if self._is_link(name):
                return f"it is a link to {found.path}, which the image does not have"
            return f"no such program is in the image ({found.path})"
        if stat.S_ISDIR(found.mode):
            return f"{found.path} is a directory"
        if not stat.S_ISREG(found.mode) or found.location is None:
            return f"{found.path} is no file"
        forbidden = self._why_forbidden(found)
        if forbidden:
            return forbidden
        return self._reason_of_content(found, beginning_of(found.location), depth)

    def _why_forbidden(self, found: _Found) -> str:
        assert found.location is not None
        mode = stat.S_IMODE(found.mode)
        if not mode & 0o111:  # access(2) does not look at that in FUSE
            return (
                f"{found.path} is not executable (mode {mode:04o}): chmod +x it where it is made, "
                f"or have its interpreter run it (sh {found.path})"
            )
        if os.access(found.location, os.X_OK):
            return ""
        status = os.stat(found.location)
        if os.statvfs(found.location).f_flag & os.ST_NOEXEC:
            return f"{found.path} is on a filesystem that forbids programs (mounted noexec)"
        return (
            f"{found.path} may not be executed by you (mode {mode:04o}, "
            f"of {user_name(status.st_uid)})"
        )

    def _reason_of_content(self, found: _Found, beginning: bytes, depth: int) -> str:
        if not beginning:
            return f"{found.path} is an empty file"
        if beginning.startswith(b"#!"):
            return self._reason_of_script(found, beginning, depth)
        if beginning.startswith(ELF):
            return self._reason_of_program(found, beginning)
        if beginning.startswith(_BYTE_ORDER_MARK):
            return f"{found.path} has a byte order mark before its first line: save it without"
        return (
            f"{found.path} is neither a program for Linux nor a script whose first line names an "
            "interpreter (#!/bin/sh)"
        )

    def _reason_of_script(self, found: _Found, beginning: bytes, depth: int) -> str:
        name = interpreter_of(beginning)
        if name is None:
            return f"the first line of {found.path} is longer than the kernel reads"
        interpreter = os.fsdecode(name)
        if not interpreter:
            return f"the first line of {found.path} names no interpreter"
        whose = "its first line" if depth == 0 else f"the first line of {found.path}"
        there = self._find(interpreter)
        if not there.mode:
            missing = f"{whose} names an interpreter that the image does not have ({interpreter!r})"
            return f"{missing}: {_DOS2UNIX}" if interpreter.endswith("\r") else missing
        if depth == _MOST_INTERPRETERS:
            return f"{found.path} is one script too many that is the interpreter of another"
        reason = self._reason_of(there, interpreter, depth + 1)
        return f"{whose} names an interpreter that cannot be executed ({interpreter!r}): {reason}"

    def _reason_of_program(self, found: _Found, beginning: bytes) -> str:
        try:
            program = read_program(beginning)
        except (struct.error, IndexError):
            return f"{found.path} is the beginning of a program: it is damaged"
        here = platform.machine()
        loader = program.loader
        if loader is not None and not self._find(loader).mode:
            kind = "musl's, as Alpine has it" if _MUSL_LOADER in loader else "of its C library"
            other = "" if program.machine == here else f", and is for {program.machine}"
            return (
                f"it needs a loader that the image does not have ({loader!r}, {kind}){other}: "
                "it was built for another system"
            )
        if program.machine != here:
            return f"{found.path} is a program for {program.machine}, and this machine is {here}"
        return f"the kernel refuses {found.path}: it may be damaged, or no program but a library"

    def _find(self, name: str) -> _Found:
        """Follow a path, relative ones from the working directory."""
        path = self._absolute(name)
        try:
            path = walk(path, "/", posixpath.join, posixpath.dirname, self._link_target)
            location = self._location(path)
            mode = 0 if location is None else os.lstat(location).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return _Found(path=path)
        except OSError as error:
            return _Found(path=path, problem=error.strerror or str(error))
        return _Found(path=path, location=location, mode=mode)

    def _is_link(self, name: str) -> bool:
        path = self._absolute(name)
        parent = self._find(posixpath.dirname(path)).path
        return self._link_target(posixpath.join(parent, posixpath.basename(path))) is not None

    def _absolute(self, name: str) -> str:
        return posixpath.join(self._sandbox.working_directory, name)

    def _link_target(self, path: str) -> str | None:
        location = self._location(path)
        if location is None or not os.path.islink(location):
            return None
        return os.readlink(location)

    def _location(self, path: str) -> str | None:
        """Where the host has what is at a path without links; None if only the sandbox has it."""
        source = self._view.source(path)
        if source is not None:
            return source
        made = (*SPECIAL_MOUNTS, *self._sandbox.directories)
        if any(f"{path}/".startswith(f"{place}/") for place in made):
            return None
        return self._root + path
