# SPDX-License-Identifier: Apache-2.0
"""Starts PRoot for one step, or its first program without, says what becomes of it, and ends all of
its processes.

It is given two descriptors, of a Request as JSON, and of a pipe for what is to be said, as bwrap
says it (bwrap(1), --json-status-fd). When nobody reads that pipe any more, who started this has
died, and the step ends. PRoot passes no signal on, and waits for background processes for ever; but
SIGQUIT ends it with all that it traces. Orphans become children of this process, so that none is
missed. Run as a program by launching.py, for one step, or for all of a run.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import socket
import sys
import time
from types import FrameType

from cwl_udss.runtimes.accounting.counted import Counted
from cwl_udss.runtimes.machine_code.ended import ended
from cwl_udss.runtimes.proot.first import IS_RUNNING, NO_DIRECTORY, NOT_EXECUTED
from cwl_udss.runtimes.proot.guard import guard, guarded_child, kill_children
from cwl_udss.runtimes.proot.request import Request, become

SAME_SESSION, NEW_SESSION = b"-", b"s"
"""What is asked for with a step."""

_DESCRIPTORS = 5
_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_PATIENCE_SECONDS = 2.0
_SIGNAL_OFFSET, _NOT_STARTED = 128, 127
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Run one step, whose descriptors are named, and end as it does; or serve at a socket."""
    if len(sys.argv) == 2:
        serve(socket.socket(fileno=int(sys.argv[1])))
        return
    request, status = map(int, sys.argv[1:])
    sys.exit(launch(request, status))


def serve(connection: socket.socket) -> None:
    """Start steps until the other end is closed. With each come five descriptors: those of the
    step, and its standard streams; its process id is the answer.

    Each is a process of its own, and a child of who asks, as no Python has to start for it.
    """
    # Typed at a terminal, it is for who asks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, 1, _DESCRIPTORS)
        if not message:
            return
        try:
            answer = _start(connection, descriptors, has_new_session=message == NEW_SESSION)
        except OSError as error:
            answer = os.strerror(error.errno or 0).encode()
        connection.send(answer)
        for descriptor in descriptors:
            os.close(descriptor)


def _start(connection: socket.socket, descriptors: list[int], *, has_new_session: bool) -> bytes:
    """Start a step, and return its process id when it is a child of who asks: orphans become
    children of the nearest process that adopts them."""
    if len(descriptors) != _DESCRIPTORS:
        raise OSError(errno.EMFILE, "")
    reading, writing = os.pipe()
    try:
        child = os.fork()
        if child == 0:
            _start_orphan(connection, descriptors, writing, has_new_session=has_new_session)
        os.waitpid(child, 0)
        os.set_blocking(reading, False)
        return os.read(reading, select.PIPE_BUF)
    finally:
        os.close(reading)
        os.close(writing)


def _start_orphan(
    connection: socket.socket, descriptors: list[int], writing: int, *, has_new_session: bool
) -> None:
    """Start a step and say its process id. Never returns."""
    try:
        step = os.fork()
        if step == 0:
            connection.close()
            _run(descriptors, has_new_session=has_new_session)
        os.write(writing, str(step).encode())
    finally:
        os._exit(0)


def _run(descriptors: list[int], *, has_new_session: bool) -> None:
    """Be the launcher of one step. Never returns."""
    code = 1
    try:
        request, status, *streams = descriptors
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        if has_new_session:
            os.setsid()
        code = launch(request, status)
    except SystemExit as error:
        print(error.code, file=sys.stderr)
    except OSError as error:
        print(f"cwl-udss: PRoot cannot be started: {error}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


def launch(request_file: int, status: int) -> int:
    """Start PRoot and wait for the command's end; return its exit code, 127 if it was not executed,
    and 128 + n if all was ended by signal n."""
    os.set_inheritable(status, False)
    with open(request_file, "rb") as stream:
        request = Request.from_json(stream.read())
    _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if not request.is_traced:
        guarded = guarded_child()
        if guarded is not None:
            os.close(status)
            return guard(guarded)
    wakener = _hear_signals()
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        become(request, writing)
    os.close(writing)
    _close_streams()
    step = _Step(process, reading, status, wakener, is_traced=request.is_traced)
    try:
        return step.attend()
    finally:
        step.end_all()
        step.say_what_was_counted()


class _Step:
    """A PRoot that was started, or a first program without one."""

    def __init__(
        self, process: int, reading: int, status: int, wakener: int, *, is_traced: bool
    ) -> None:
        self._process: int | None = process
        self._reading = reading
        self._status = status
        self._wakener = wakener
        self._is_traced = is_traced
        self._said = b""
        self._counted: Counted | None = None
        """Of the command and of orphans that have ended; PRoot's own is none of the step's."""

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
                    if number not in (signal.SIGCHLD, signal.SIGINT):
                        return _SIGNAL_OFFSET + number
                if not self._reap() and not self._is_telling():
                    return _SIGNAL_OFFSET + signal.SIGKILL if self._said else 1

    def end_all(self) -> None:
        """Kill what is left, and wait for its end: what PRoot traces by PRoot, the rest after it.
        PRoot killed otherwise would leave what it traces."""
        if self._process is not None and self._is_traced:
            os.kill(self._process, signal.SIGQUIT)
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                if self._has_reaped():
                    continue
            except ChildProcessError:
                return
            if self._process is None or not self._is_traced or time.monotonic() > give_up:
                kill_children()
            if select.select([self._wakener], [], [], 0.01)[0]:
                os.read(self._wakener, select.PIPE_BUF)

    def say_what_was_counted(self) -> None:
        """Say it when all have ended."""
        for name, value in (self._counted.facts() if self._counted else {}).items():
            self._say(name, value)

    def _listen(self) -> bool:
        """Hear what the first program says; False at the end of that."""
        part = os.read(self._reading, select.PIPE_BUF)
        if part and not self._said:
            self._say("tracer-pid", self._process if self._process and self._is_traced else 0)
            self._say("child-pid", os.getpid())
        self._said += part
        return bool(part)

    def _is_telling(self) -> bool:
        """Whether there is something that was not heard yet."""
        return bool(select.select([self._reading], [], [], 0)[0]) and self._listen()

    def _code(self) -> int | None:
        """The exit code, if all was said."""
        told = self._said.removeprefix(IS_RUNNING)
        if told == NO_DIRECTORY:
            sys.exit("cwl-udss: the working directory cannot be entered")
        end = ended(told)
        if end is None:
            return _NOT_STARTED if told.startswith(NOT_EXECUTED) else None
        self._add(end.counted)
        code = end.code if end.code >= 0 else _SIGNAL_OFFSET - end.code
        self._say("exit-code", code)
        return code

    def _say(self, name: str, value: int) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._status, f"{json.dumps({name: value})}\n".encode())

    def _reap(self) -> bool:
        """Wait for those who have ended; say whether PRoot is still there."""
        with contextlib.suppress(ChildProcessError):
            while self._has_reaped():
                pass
        return self._process is not None

    def _has_reaped(self) -> bool:
        """Wait for one who has ended, if there is any. Raises ChildProcessError if nobody is
        left."""
        ended, _, usage = os.wait4(-1, os.WNOHANG)
        if ended and ended == self._process:
            self._process = None
        elif ended:
            self._add(Counted.of(usage))
        return ended != 0

    def _add(self, counted: Counted) -> None:
        self._counted = counted if self._counted is None else self._counted + counted


def _hear_signals() -> int:
    """Return a descriptor from which to read the numbers of signals that have come."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    # What is typed at a terminal that the command has (SIGINT) is for the command.
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _do_nothing)
    return reading


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Be the handler of a signal that is read from a descriptor."""


def _close_streams() -> None:
    """Leave the standard streams to the step, but for what may have to be said of a failure."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    os.close(nothing)


if __name__ == "__main__":
    main()
