# SPDX-License-Identifier: Apache-2.0
"""Starts PRoot for one step, says what becomes of it, and ends all of its processes.

Run as a program, `python -m cwl_udss.runtimes.proot.launcher REQUEST STATUS`: two descriptors, of a
Request as JSON, and of a pipe for what is to be said, as bwrap says it (bwrap(1),
--json-status-fd). When nobody reads that pipe any more, who started this has died, and the step
ends. PRoot passes no signal on, and waits for background processes for ever; but SIGQUIT ends it
with all that it traces. Orphans become children of this process, so that none is missed.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import FrameType

from cwl_udss.runtimes.proot.first import IS_RUNNING, NO_DIRECTORY, NOT_EXECUTED
from cwl_udss.runtimes.proot.landlock import Rule, forbid_new_privileges, restrict

FIRST_DESCRIPTOR = 9
"""By which the first program speaks."""

_SET_PARENT_DEATH_SIGNAL, _SET_SECCOMP, _SET_CHILD_SUBREAPER = 1, 22, 36  # linux/prctl.h
_SECCOMP_MODE_FILTER = 2
_INSTRUCTION_BYTES = 8
_PATIENCE_SECONDS = 2.0
_SIGNAL_OFFSET, _NOT_STARTED = 128, 127
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be started."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    rules: tuple[Rule, ...]
    abi: int
    """Of Landlock."""
    filter: bytes
    """Of system calls."""

    def to_json(self) -> bytes:
        """Return what from_json() reads."""
        rules = [[rule.path, rule.writable] for rule in self.rules]
        filter_ = base64.b64encode(self.filter).decode()
        return json.dumps({**asdict(self), "rules": rules, "filter": filter_}).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Request:
        """Return a request."""
        fields = json.loads(content)
        return cls(
            arguments=tuple(fields["arguments"]),
            environment=fields["environment"],
            rules=tuple(Rule(*rule) for rule in fields["rules"]),
            abi=fields["abi"],
            filter=base64.b64decode(fields["filter"]),
        )


def main() -> None:
    """Run one step, and end as it does."""
    request, status = map(int, sys.argv[1:])
    os.set_inheritable(status, False)
    with open(request, "rb") as stream:
        content = stream.read()
    sys.exit(launch(Request.from_json(content), status))


def launch(request: Request, status: int) -> int:
    """Start PRoot and wait for the command's end; return its exit code, 127 if it was not executed,
    and 128 + n if all was ended by signal n."""
    _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wakener = _hear_signals()
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        _become(request, writing)
    os.close(writing)
    _close_streams()
    step = _Step(process, reading, status, wakener)
    try:
        return step.attend()
    finally:
        step.end_all()


class _Step:
    """A PRoot that was started."""

    def __init__(self, process: int, reading: int, status: int, wakener: int) -> None:
        self._process: int | None = process
        self._reading = reading
        self._status = status
        self._wakener = wakener
        self._said = b""

    def attend(self) -> int:
        """Wait until the command has ended, or must; return the exit code."""
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        poll.register(self._status, 0)  # errors are told in any case: poll(2)
        poll.register(self._wakener, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._status in ready:
                return _SIGNAL_OFFSET + signal.SIGKILL
            if self._reading in ready:
                if not self._listen():
                    poll.unregister(self._reading)
                code = self._code()
                if code is not None:
                    return code
            if self._wakener in ready:
                for number in os.read(self._wakener, select.PIPE_BUF):
                    if number != signal.SIGCHLD:
                        return _SIGNAL_OFFSET + number
                if not self._reap() and not self._is_telling():
                    return _SIGNAL_OFFSET + signal.SIGKILL if self._said else 1

    def end_all(self) -> None:
        """Kill what is left, and wait for its end: what PRoot traces by PRoot, the rest after it.
        PRoot killed otherwise would leave what it traces."""
        if self._process is not None:
            os.kill(self._process, signal.SIGQUIT)
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                ended, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if ended:
                self._process = None if ended == self._process else self._process
                continue
            if self._process is None or time.monotonic() > give_up:
                _kill_children()
            if select.select([self._wakener], [], [], 0.01)[0]:
                os.read(self._wakener, select.PIPE_BUF)

    def _listen(self) -> bool:
        """Hear what the first program says; False at the end of that."""
        part = os.read(self._reading, select.PIPE_BUF)
        if part and not self._said:
            self._say("child-pid", os.getpid())
        self._said += part
        return bool(part)

    def _is_telling(self) -> bool:
        """Whether there is something that was not heard yet."""
        return bool(select.select([self._reading], [], [], 0)[0]) and self._listen()

    def _code(self) -> int | None:
        """The exit code, if all was said."""
        told = self._said.removeprefix(IS_RUNNING)
        if told.startswith(NOT_EXECUTED) and len(told) != len(NOT_EXECUTED) + 3:
            return _NOT_STARTED
        if told == NO_DIRECTORY:
            sys.exit("cwl-udss: the working directory cannot be entered")
        if len(told) != 4:
            return None
        code = os.waitstatus_to_exitcode(int.from_bytes(told, sys.byteorder))
        code = code if code >= 0 else _SIGNAL_OFFSET - code
        self._say("exit-code", code)
        return code

    def _say(self, name: str, value: int) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._status, f"{json.dumps({name: value})}\n".encode())

    def _reap(self) -> bool:
        """Wait for those who have ended; say whether PRoot is still there."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                self._process = None if ended == self._process else self._process
        return self._process is not None


def _hear_signals() -> int:
    """Return a descriptor from which to read the numbers of signals that have come."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _do_nothing)
    return reading


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Be the handler of a signal that is read from a descriptor."""


def _become(request: Request, writing: int) -> None:
    """Give up all rights that the step does not have, and become PRoot. Never returns."""
    try:
        parent = os.getppid()
        _libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGQUIT, 0, 0, 0)
        os.dup2(writing, FIRST_DESCRIPTOR, inheritable=True)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them; the tool would, too
            signal.signal(number, signal.SIG_DFL)
        os.chdir("/")
        forbid_new_privileges()
        restrict(request.rules, request.abi)
        _restrict_calls(request.filter)
        if os.getppid() == parent:
            os.execve(request.arguments[0], request.arguments, request.environment)  # noqa: S606
    except OSError as error:
        print(f"cwl-udss: {request.arguments[0]} cannot be started: {error}", file=sys.stderr)
        sys.stderr.flush()
    finally:
        os._exit(1)


def _restrict_calls(program: bytes) -> None:
    class Program(ctypes.Structure):
        """struct sock_fprog of linux/filter.h."""

        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    wanted = Program(len(program) // _INSTRUCTION_BYTES, program)
    if _libc.prctl(_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(wanted), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def _close_streams() -> None:
    """Leave the standard streams to the step, but for what may have to be said of a failure."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _kill_children() -> None:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as stream:
        for number in stream.read().split():
            os.kill(int(number), signal.SIGKILL)


if __name__ == "__main__":
    main()
