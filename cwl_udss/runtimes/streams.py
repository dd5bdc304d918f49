# SPDX-License-Identifier: Apache-2.0
"""The standard streams of a sandboxed process: pipes, and what is copied through them.

Whoever has a descriptor of a file can open that file anew, by /dev/stdout or /proc/self/fd, and so
read, empty and overwrite what the caller only meant to be added to (proc_pid_fd(5)). A pipe leads
nowhere; and it is what Docker gives a container, so that tools behave as their authors saw them do.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
import sys
import termios
from collections.abc import Callable, Iterator
from typing import TypeVar

from cwl_udss.errors import SandboxError, StreamError
from cwl_udss.records import record
from cwl_udss.runtimes.channels import Channel, LendingChannel, is_ready
from cwl_udss.sandbox import Streams

Started = TypeVar("Started")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Relay:
    """The pipes of one process: its own ends of them, and what is copied through ours."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._inside: list[int] = []
        """The process's ends, open until it has been started."""
        self._input: Channel | None = None
        self._unread: int | None = None
        """Another end of the process's input, if that may be wanted by others."""
        self._terminals: list[int] = []
        """Our own descriptors of the caller's."""
        self._outputs: list[Channel] = []
        try:
            self.stdin = self._make_input(streams.stdin)
            is_same = os.path.sameopenfile(streams.stdout, streams.stderr)
            kept = streams.remembered_bytes
            self.stdout = self._make_output(streams.stdout, kept if is_same else 0)
            # In one pipe both keep their order. Two descriptors of one file, each with its own
            # place in it, would overwrite each other.
            self.stderr = self.stdout if is_same else self._make_output(streams.stderr, kept)
        except BaseException:
            self.close()
            raise

    def close_inside(self) -> None:
        """Leave the process's ends to the process."""
        while self._inside:
            os.close(self._inside.pop())

    @property
    def hands_on_a_terminal(self) -> bool:
        """Whether the process has a terminal of the caller's."""
        streams = self._streams
        given = (streams.stdin, streams.stdout, streams.stderr)
        return any(number is not None and self._is_handed_on(number) for number in given)

    @property
    def is_typed_at(self) -> bool:
        """Whether the process reads from a terminal of the caller's."""
        return self._streams.stdin is not None and self._is_handed_on(self._streams.stdin)

    def open_channels(self) -> list[Channel]:
        """Return what there is still to be copied through."""
        return [channel for channel in (self._input, *self._outputs) if channel and channel.is_open]

    def has_output(self) -> bool:
        """Say whether something that the process has written waits to be copied."""
        return any(
            channel.is_open and (channel.awaits_target or is_ready(*channel.awaited))
            for channel in self._outputs
        )

    def close_input(self) -> None:
        """Copy no more to the process, which has ended."""
        if self._input is not None:
            self._input.close()

    def close(self) -> None:
        """Copy nothing more."""
        self.close_inside()
        for channel in self.open_channels():
            channel.close()
        if self._unread is not None and self._input is not None:
            self._input.give_back(_bytes_in(self._unread))
            os.close(self._unread)
            self._unread = None
        while self._terminals:
            os.close(self._terminals.pop())

    @property
    def said(self) -> bytes:
        """The end of what the process has said, if that is remembered."""
        return self._outputs[-1].end if self._outputs else b""

    def check(self) -> None:
        """Raise StreamError if something was lost on its way."""
        for channel in self._outputs:
            if channel.failure is not None:
                raise StreamError(
                    f"what the step says cannot be written to {channel.failed_at}: "
                    f"{channel.failure.strerror}",
                    "make room there" if channel.failure.errno in _FULL else "look at that file",
                ) from channel.failure
        if self._input is not None and self._input.failure is not None:
            raise StreamError(
                f"the step's standard input, {self._input.failed_at}, cannot be read: "
                f"{self._input.failure.strerror}",
                "look at that file",
            ) from self._input.failure

    def _make_input(self, source: int | None) -> int:
        if source is not None and self._is_handed_on(source):
            return source
        if source is not None and not _is_for_reading(source):
            source = None  # nohup(1) makes it such, and is not to be in the way of who reads none
        reading, writing = os.pipe()
        self._inside.append(reading)
        os.fchmod(reading, stat.S_IRUSR)
        if source is None:
            os.close(writing)
        else:
            os.set_blocking(writing, False)
            mode = os.fstat(source).st_mode
            is_pipe = stat.S_ISFIFO(mode)
            self._input = (
                LendingChannel(source, writing) if is_pipe else Channel(source, writing, writing)
            )
            if is_pipe or stat.S_ISREG(mode):
                self._unread = os.dup(reading)
        return reading

    def _make_output(self, target: int, remembered_bytes: int) -> int:
        if self._is_handed_on(target):
            return target
        reading, writing = os.pipe()
        self._inside.append(writing)
        # Who opened it to read what the caller's file has would wait for itself.
        os.fchmod(writing, stat.S_IWUSR)
        os.set_blocking(reading, False)
        if stat.S_ISCHR(os.fstat(target).st_mode):
            target = _own_terminal(target)
            self._terminals.append(target)
        self._outputs.append(Channel(reading, target, reading, remembered_bytes))
        return writing

    def _is_handed_on(self, descriptor: int) -> bool:
        return self._streams.hands_on_terminals and os.isatty(descriptor)


@record(frozen=True, kw_only=True)
class Pipes:
    """The standard streams of a process as subprocess.Popen takes them: no files of the host's, but
    pipes that the caller, or else the relay, reads and writes."""

    stdin: int
    stdout: int
    stderr: int
    relay: Relay | None = None

    @property
    def is_typed_at(self) -> bool:
        """Whether the process has the terminal at which a person types."""
        return self.relay is not None and self.relay.is_typed_at

    @property
    def hands_on_a_terminal(self) -> bool:
        """Whether a terminal of the caller's is the process's own."""
        return self.relay is not None and self.relay.hands_on_a_terminal

    def needs_own_session(self) -> bool:
        """Say whether the process is to have a session of its own. By /dev/tty it could read what
        is typed, and write to the terminal. Jobs have none, and stay in the session that their
        batch system knows them by."""
        return _has_terminal() and not self.hands_on_a_terminal


def with_relay(streams: Streams, start: Callable[[Pipes], Started]) -> Started:
    """Start a process with pipes, which are this one's to close if it cannot be started.

    Raises SandboxError if the streams cannot be used.
    """
    try:
        relay = Relay(streams)
    except OSError as error:  # closed descriptors, or too many of them
        raise SandboxError("the standard streams cannot be used", str(error)) from error
    try:
        return start(
            Pipes(stdin=relay.stdin, stdout=relay.stdout, stderr=relay.stderr, relay=relay)
        )
    except BaseException:
        relay.close()
        raise
    finally:
        relay.close_inside()


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal: tty(4)."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY))
    except OSError:
        return False
    return True


def _own_terminal(descriptor: int) -> int:
    """A descriptor of our own for the same terminal, or other device, so that writing does not wait
    for one that stands still: others have the caller's, too, and expect that it waits."""
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:  # another user's, or one that has hung up
        return os.dup(descriptor)


def _bytes_in(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), sys.byteorder)


def _is_for_reading(descriptor: int) -> bool:
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY


@contextlib.contextmanager
def left_to_the_command(hand_on: Callable[[int], None]) -> Iterator[None]:
    """Leave what a person types at the terminal that is the command's to the command."""
    numbers = (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH)
    before = [signal.signal(number, lambda typed, _: hand_on(typed)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
