# SPDX-License-Identifier: Apache-2.0
"""The first process of a sandbox's namespaces: puts the sandbox together, starts the command, waits
for all that ends there, and says how the command has ended. All others end with it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.machine_code.command import (
    CHILD_HAS_ENDED,
    NO_CHILD,
    count_all,
    end_like,
    execute,
    wait,
)
from cwl_udss.runtimes.machine_code.ended import ENDED
from cwl_udss.runtimes.machine_code.program import MEMORY_ADDRESS, Call, Program, Variable
from cwl_udss.runtimes.status import FAILED, HAS_BEGUN, HAS_ENDED, HAS_FAILED, IS_MADE, NOT_EXECUTED
from cwl_udss.runtimes.unshare.assembly import give_back_mask
from cwl_udss.runtimes.unshare.file_calls import AT_CWD
from cwl_udss.runtimes.words import program_file
from cwl_udss.sandbox import HOST_NAME, Sandbox

_COMMAND = 2  # of the process that is started first in a PID namespace: pid_namespaces(7)
_SET_PARENT_DEATH_SIGNAL, _SET_DUMPABLE = 1, 4  # linux/prctl.h
_FAILED = struct.pack("=i", 1 << 8)  # as wait4(2) has it; where nobody is left to be waited for
_STANDARD_ERROR = 2

_POLL = struct.Struct("=ihh")  # struct pollfd of poll(2)
_NO_TIME = bytes(16)
_SIGNALS_BYTES = 8
_BLOCK, _SET_MASK = 0, 2  # rt_sigprocmask(2)
_SIGNALS = "signals"
_SIGNAL_INFORMATION_BYTES = 128
_SET_DESCRIPTOR_FLAGS, _CLOSE_ON_EXEC = 2, 1  # fcntl(2)

# netdevice(7)
_SET_INTERFACE_FLAGS, _INTERFACE_IS_UP = 0x8914, 0x49
_LOOPBACK = struct.pack("=16sh22x", b"lo", _INTERFACE_IS_UP)
_SOCKET = "socket"
_AF_INET, _DATAGRAMS = 2, 2


@dataclass(frozen=True, kw_only=True)
class Descriptors:
    """What a first process has of its caller, besides standard streams."""

    status: int
    """Where it says what becomes of it."""
    program: int
    """Itself."""


class Initial:
    """The program of a first process, in the making."""

    def __init__(self, descriptors: Descriptors, machine: str | None = None) -> None:
        self.program = Program(machine)
        self.passed: list[int] = []
        """Descriptors of further programs, to be given to it and closed after that."""
        self._inner: list[Program] = []
        self._descriptors = descriptors
        memory = self.program.memory
        self._mask = memory.add(bytes(_SIGNALS_BYTES))
        self._command = memory.add(bytes(8))
        self._ended = memory.add(HAS_ENDED + _FAILED.ljust(ENDED.size, b"\0"))
        self._poll = memory.add(
            _POLL.pack(descriptors.status, 0, 0) + _POLL.pack(descriptors.program, select.POLLIN, 0)
        )

    @property
    def status(self) -> int:
        """Where it says what becomes of the sandbox."""
        return self._descriptors.status

    def content(
        self,
        calls: Sequence[Call],
        command: bytes,
        *,
        dies_with_parent: bool,
        knows_number: bool = True,
        says_end: bool = True,
    ) -> bytes:
        """Return the program, which makes calls, and has a child execute the code `command`.

        `knows_number` says whether it begins with the caller's /proc, which has its process id;
        else who hears it finds that out. With `says_end` it says how the command has ended, and all
        ends; else somebody says it who was left by that, and it waits until there is nobody left.
        """
        program, call = self.program, self.program.call
        all_calls = [*_die_with_parent()] if dies_with_parent else []
        # Said after that: from then on others kill by killing the parent.
        all_calls += [*(self._say_number() if knows_number else self._say_something())]
        all_calls += [*calls, *self._ready()]
        code = (
            self._end_unless_wanted(),
            make_calls(program, all_calls, self.status),
            call("clone", CHILD_HAS_ENDED, 0, 0, 0, 0),
            program.processor.store(self._command),
            program.processor.if_result(0, self._child(command)),
            # Whoever that leaves may end before it, and is to be the last that is waited for.
            b"" if says_end else call("wait4", _COMMAND, 0, 0, 0),
            program.processor.repeat(self._wait(says_end=says_end)),
        )
        return program.elf(b"".join(code))

    def inner_program(self) -> tuple[Program, int]:
        """Return another program, and the descriptor to which it is to be written: of what starts
        the command where another runtime comes between."""
        inner = Program(address=MEMORY_ADDRESS << 1 + len(self._inner))
        self._inner.append(inner)
        self.passed.append(program_file())
        return inner, self.passed[-1]

    def explain(self, place: int, error: int) -> SandboxError:
        """Say what has failed, by what was said of it."""
        for program in (self.program, *self._inner):
            with contextlib.suppress(LookupError):
                call = program.failed_call(place)
                return SandboxError(f"{call.purpose}: {os.strerror(error)}", call.advice)
        return SandboxError("the sandbox could not be made", os.strerror(error))

    def _say_number(self) -> Iterator[Call]:
        """Its number outside: this /proc is that of the caller's namespace."""
        begin, number, end = b'{"child-pid": ', b" " * 20, b"}\n"
        words = self.program.memory.add(begin + number + end)
        yield Call(
            name="readlinkat",
            arguments=(AT_CWD, b"/proc/self\0", words + len(begin), len(number)),
            purpose="/proc cannot be read",
        )
        yield Call(
            name="write",
            arguments=(self._descriptors.status, words, len(begin + number + end)),
            purpose="nobody listens",
        )

    def _say_something(self) -> Iterator[Call]:
        arguments = (self._descriptors.status, HAS_BEGUN, len(HAS_BEGUN))
        yield Call(name="write", arguments=arguments, purpose="nobody listens")

    def _ready(self) -> Iterator[Call]:
        purpose = "signals cannot be awaited"
        ended = struct.pack("=Q", 1 << (CHILD_HAS_ENDED - 1))
        own, size = self._descriptors.program, _SIGNALS_BYTES
        yield give_back_mask()
        # Neither what it says nor its descriptors are for the command, which has the same user.
        arguments_of_dump = (_SET_DUMPABLE, 0, 0, 0, 0)
        yield Call(name="prctl", arguments=arguments_of_dump, purpose="prctl")
        yield Call(
            name="rt_sigprocmask", arguments=(_BLOCK, ended, self._mask, size), purpose=purpose
        )
        # -1: a new descriptor, which then gets the number of the program's.
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        arguments = (-1, ended, size, flags)
        yield Call(name="signalfd4", arguments=arguments, purpose=purpose, result=_SIGNALS)
        arguments_of_copy = (Variable(_SIGNALS), own, os.O_CLOEXEC)
        yield Call(name="dup3", arguments=arguments_of_copy, purpose=purpose)
        yield Call(name="close", arguments=(Variable(_SIGNALS),), purpose=purpose)

    def _child(self, command: bytes) -> bytes:
        return (
            self.program.call("rt_sigprocmask", _SET_MASK, self._mask, 0, _SIGNALS_BYTES) + command
        )

    def _wait(self, *, says_end: bool) -> bytes:
        """Say how the command has ended, if it has and is to be told of; else wait for news, if all
        have been waited for that have ended."""
        program, call = self.program, self.program.call
        status = self._ended + len(HAS_ENDED)
        end = end_like(program, status)
        size = len(HAS_ENDED) + ENDED.size
        told = count_all(program, status)
        told += call("write", self._descriptors.status, self._ended, size) + end
        information = program.memory.constant(bytes(_SIGNAL_INFORMATION_BYTES))
        news = b"".join(
            (
                call("ppoll", self._poll, 2, 0, 0, 0),
                self._end_unless_wanted(),
                call("read", self._descriptors.program, information, _SIGNAL_INFORMATION_BYTES),
            )
        )
        return b"".join(
            (
                wait(program, status, os.WNOHANG),
                program.processor.if_result_is_at(self._command, told) if says_end else b"",
                program.processor.if_result(NO_CHILD, end),
                program.processor.if_result(0, news),
            )
        )

    def _end_unless_wanted(self) -> bytes:
        """End if nobody reads what is said any more: who has started this has died. Errors are told
        in any case: poll(2)."""
        call, memory = self.program.call, self.program.memory
        asked = call("ppoll", self._poll, 1, memory.constant(_NO_TIME), 0, 0)
        return asked + self.program.processor.if_result(1, call("exit_group", 1))


def _die_with_parent() -> Iterator[Call]:
    arguments = (_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    yield Call(name="prctl", arguments=arguments, purpose="prctl")


def make_calls(program: Program, calls: Sequence[Call], status: int) -> bytes:
    """Make calls; if one fails, say so and end."""
    failed = program.memory.add(HAS_FAILED + bytes(FAILED.size))
    told = program.call("write", status, failed, len(HAS_FAILED) + FAILED.size)
    return program.make_calls(calls, failed + len(HAS_FAILED)) + program.processor.unless_result(
        0, told + program.call("exit_group", 1)
    )


def become_command(program: Program, sandbox: Sandbox, status: int) -> bytes:
    """Become the command of a sandbox, whose root is the current one."""
    call, memory = program.call, program.memory
    directory = os.fsencode(sandbox.working_directory)
    told = program.say(status, NOT_EXECUTED) + call("exit_group", 127)
    words = b"cwl-udss: the working directory cannot be entered: " + directory + b"\n"
    return b"".join(
        (
            program.say(status, IS_MADE),
            call("fcntl", status, _SET_DESCRIPTOR_FLAGS, _CLOSE_ON_EXEC),
            call("chdir", memory.constant(directory + b"\0")),
            program.processor.unless_result(0, program.say(_STANDARD_ERROR, words) + told),
            execute(program, sandbox.command, sandbox.environment),
            told,
        )
    )


def separate_host(*, network: bool) -> Iterator[Call]:
    """Have a name of its own and, without a network, a loopback that works."""
    name = HOST_NAME.encode()
    arguments = (name, len(name))
    yield Call(name="sethostname", arguments=arguments, purpose="the host's name cannot be hidden")
    if not network:
        purpose = "there can be no loopback"
        yield Call(
            name="socket", arguments=(_AF_INET, _DATAGRAMS, 0), purpose=purpose, result=_SOCKET
        )
        interface = (Variable(_SOCKET), _SET_INTERFACE_FLAGS, _LOOPBACK)
        yield Call(name="ioctl", arguments=interface, purpose=purpose)
        yield Call(name="close", arguments=(Variable(_SOCKET),), purpose=purpose)
