# SPDX-License-Identifier: Apache-2.0
"""The first program of a sandbox that PRoot makes: starts the command, and says how it has ended.

PRoot's own exit status is that of the process that ended last, and 0 if the command was killed
(its issue 146); and what LD_PRELOAD names in the command's environment would be loaded into PRoot,
which hands its own on. A shell of the image could stand between them, if the image had one, and if
shells took any name for a variable. So a program is made for each step, in which all is decided:
command, environment and places in which to look are constants. It needs no library, and makes
system calls one after the other. Its format is in elf(5), how to call in syscall(2).
"""

from __future__ import annotations

import os
import platform
import posixpath
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.proot.processors import AARCH64, SCRATCH_ADDRESS, X86_64, Processor
from cwl_udss.runtimes.status import Counted

IS_RUNNING, NO_DIRECTORY, NOT_EXECUTED = b"r", b"d", b"x"
"""What it says: that it runs; that the working directory, the command cannot be used. Then what
wait4(2) has said of the command, see ended()."""

_PROCESSORS: Mapping[str, Processor] = {"x86_64": X86_64, "aarch64": AARCH64}
_DEFAULT_PATH = "/bin:/usr/bin"  # of execvp(3)
_SHELL = b"/bin/sh"  # which execvp(3) has read what the kernel does not know
_ADDRESS = 0x400000
_PAGE = 0x10000  # the largest that there is
_HEADERS = 64 + 2 * 56
_SIGNALS_BYTES = 8
# The status, and struct rusage of getrusage(2): the times, the largest process, (three unused and
# minor faults,) major faults, (swaps,) blocks read and written, (and five others).
_ENDED = struct.Struct("=i4x4qq32xq8x2q40x")
_STATUS, _USAGE = SCRATCH_ADDRESS, SCRATCH_ADDRESS + 8
_SIGNALS = SCRATCH_ADDRESS + _ENDED.size

_SET_DESCRIPTOR_FLAGS, _CLOSE_ON_EXEC = 2, 1  # fcntl(2)
_BLOCK, _SET_MASK = 0, 2  # rt_sigprocmask(2)
_CHILD_HAS_ENDED = 17  # SIGCHLD
_ANY = 0xFFFFFFFF  # -1
_UNKNOWN_FORMAT = 0xFFFFFFF8  # -ENOEXEC


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
    machine = machine or platform.machine()
    try:
        processor = _PROCESSORS[machine]
    except KeyError:
        raise SandboxError(
            f"no program can be made for {machine}", f"PRoot is used on {' and '.join(_PROCESSORS)}"
        ) from None
    program = _Program(processor, descriptor)
    # Where the data are depends on how long the code is, but that not on where they are.
    size = len(program.code(_Data(0), command, environment, working_directory))
    data = _Data(_ADDRESS + _HEADERS + size)
    code = program.code(data, command, environment, working_directory)
    return _elf(processor, code + bytes(data.content))


def ended(said: bytes) -> tuple[int, Counted] | None:
    """Return the exit code of the command (that of os.waitstatus_to_exitcode()), and what was
    counted of it and all that it has waited for; None if that is not what was said."""
    if len(said) != _ENDED.size:
        return None
    status, *times, largest, faults, read, written = _ENDED.unpack(said)
    counted = Counted(
        user_seconds=times[0] + times[1] / 1e6,
        system_seconds=times[2] + times[3] / 1e6,
        largest_kibibytes=largest,
        major_faults=faults,
        read_blocks=read,
        written_blocks=written,
    )
    return os.waitstatus_to_exitcode(status), counted


def search_places(name: str, environment: Mapping[str, str]) -> list[str]:
    """Return where a command of this name may be, as execvp(3) looks for it."""
    if "/" in name or not name:
        return [name]
    directories = environment.get("PATH", _DEFAULT_PATH).split(":")
    return [posixpath.join(directory, name) for directory in directories]


class _Data:
    """Constants, from an address on."""

    def __init__(self, address: int) -> None:
        self._address = address
        self.content = bytearray()

    def add(self, content: bytes) -> int:
        """Return where a content is."""
        address = self._address + len(self.content)
        self.content += content
        return address

    def words(self, words: Sequence[bytes]) -> int:
        """Return where there are pointers to words, as execve(2) takes them."""
        addresses = [self.add(word + b"\0") for word in words]
        return self.add(struct.pack(f"<{len(words) + 1}Q", *addresses, 0))


@dataclass(frozen=True)
class _Program:
    processor: Processor
    descriptor: int

    def code(
        self,
        data: _Data,
        command: tuple[str, ...],
        environment: Mapping[str, str],
        working_directory: str,
    ) -> bytes:
        """The instructions, whose constants are added to the data."""
        call = self.processor.call
        directory = data.add(os.fsencode(working_directory) + b"\0")
        all_signals = data.add(b"\xff" * _SIGNALS_BYTES)
        failed = self._say(data, NO_DIRECTORY) + call("exit_group", 1)
        child = call("rt_sigprocmask", _SET_MASK, _SIGNALS, 0, _SIGNALS_BYTES)
        child += self._execute(data, command, environment)
        return b"".join(
            (
                self._say(data, IS_RUNNING),
                call("fcntl", self.descriptor, _SET_DESCRIPTOR_FLAGS, _CLOSE_ON_EXEC),
                call("chdir", directory),
                self.processor.unless_result(0, failed),
                # What is sent to all processes of a group or session is for the command.
                call("rt_sigprocmask", _BLOCK, all_signals, _SIGNALS, _SIGNALS_BYTES),
                call("clone", _CHILD_HAS_ENDED, 0, 0, 0, 0),
                self.processor.if_result(0, child),
                call("wait4", _ANY, _STATUS, 0, _USAGE),
                call("write", self.descriptor, _STATUS, _ENDED.size),
                call("exit_group", 0),
            )
        )

    def _execute(
        self, data: _Data, command: tuple[str, ...], environment: Mapping[str, str]
    ) -> bytes:
        """Become the command, and end if that cannot be."""
        call = self.processor.call
        words = [os.fsencode(word) for word in command]
        variables = data.words([os.fsencode(f"{k}={v}") for k, v in environment.items()])
        arguments, shell = data.words(words), data.add(_SHELL + b"\0")
        code = b""
        for place in search_places(command[0], environment):
            path = os.fsencode(place)
            script = data.words([b"sh", path, *words[1:]])
            code += call("execve", data.add(path + b"\0"), arguments, variables)
            by_shell = call("execve", shell, script, variables)
            code += self.processor.if_result(_UNKNOWN_FORMAT, by_shell)
        return code + self._say(data, NOT_EXECUTED) + call("exit_group", 127)

    def _say(self, data: _Data, word: bytes) -> bytes:
        return self.processor.call("write", self.descriptor, data.add(word), len(word))


def _elf(processor: Processor, content: bytes) -> bytes:
    """A program of two segments: what it is, to be read and executed; and its memory."""
    offset = -(-(_HEADERS + len(content)) // _PAGE) * _PAGE
    memory = bytes(_ENDED.size + _SIGNALS_BYTES)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        *(2, processor.elf_machine, 1, _ADDRESS + _HEADERS),  # ET_EXEC, EV_CURRENT, e_entry
        *(64, 0, 0, 64, 56, 2, 0, 0, 0),  # program headers, and no sections
    )
    size = _HEADERS + len(content)
    readable, writable = 4 | 1, 4 | 2
    for flags, place, address, length in (
        (readable, 0, _ADDRESS, size),
        (writable, offset, SCRATCH_ADDRESS, len(memory)),
    ):
        header += struct.pack("<IIQQQQQQ", 1, flags, place, address, address, length, length, _PAGE)
    return (header + content).ljust(offset, b"\0") + memory
