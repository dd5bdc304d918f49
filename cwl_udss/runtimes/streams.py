# SPDX-License-Identifier: Apache-2.0
"""The standard streams of a sandboxed process: pipes, and what is copied through them.

Whoever has a descriptor of a file can open that file anew, by /dev/stdout or /proc/self/fd, and so
read, empty and overwrite what the caller only meant to be added to (proc_pid_fd(5)). A pipe leads
nowhere; and it is what Docker gives a container, so that tools behave as their authors saw them do.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import stat
import sys
import termios

from cwl_udss.errors import StreamError
from cwl_udss.sandbox import Streams

_CHUNK_BYTES = 1 << 20
# What everybody may have (fs.pipe-max-size in proc_sys_fs(5)). Only a stream that fills its pipe
# gets so much, as all pipes of a user have some 64 MiB together.
_LARGEST_PIPE = 1 << 20
_DEFAULT_PIPE = 1 << 16
_FULL = (errno.ENOSPC, errno.EDQUOT)
_GONE = (errno.EPIPE, errno.ECONNRESET)
_libc = ctypes.CDLL(None, use_errno=True)


class Channel:
    """One way, from one descriptor to another, one of which is our end of the process's pipe."""

    def __init__(self, source: int, target: int, pipe: int) -> None:
        self.source = source
        self.target = target
        self.is_open = True
        self.failure: OSError | None = None
        self.failed_at = ""
        """The name of the file, or the like, that cannot be read or written."""
        self._pipe = pipe
        mode = os.fstat(target).st_mode
        self._is_device = stat.S_ISCHR(mode)
        # Into a socket or a terminal splice(2) waits until it has moved all.
        self._can_splice = stat.S_ISREG(mode) or stat.S_ISFIFO(mode)
        # A file always takes what is written to it: no need to ask.
        self._asks_target = not stat.S_ISREG(mode)
        self._is_source_ready = False
        self._rest = b""

    @property
    def awaits_target(self) -> bool:
        """Whether there is something to be written."""
        return self._is_source_ready or bool(self._rest)

    @property
    def awaited(self) -> tuple[int, int]:
        """The descriptor and the event of poll(2) after which advance() has something to do."""
        if self.awaits_target:
            return self.target, select.POLLOUT
        return self.source, select.POLLIN

    def give_back(self, unread_bytes: int) -> None:
        """Leave in a file what the process has not read of its pipe, for who reads that next: a
        shell's loop may have its own input from the same one."""
        os.lseek(self.source, -unread_bytes - len(self._rest), os.SEEK_CUR)

    def advance(self) -> None:
        """Go on as far as that is possible without waiting."""
        if not self.awaits_target and self._asks_target:
            self._is_source_ready = True
            return
        self._is_source_ready = False
        try:
            moved = self._move()
        except BlockingIOError:
            return
        except OSError as error:
            if self._is_device and error.errno == errno.EIO:
                self._forget_terminal()
                return
            # Who reads what the process says may leave, and so may the process that is written to.
            if error.errno not in _GONE:
                self.failure = error
                self.failed_at = _name(self.source if self._pipe == self.target else self.target)
            moved = 0
        if not moved:
            self.close()
        elif moved >= _DEFAULT_PIPE:
            self._enlarge()

    def close(self) -> None:
        """Close our end of the pipe: the process sees the end of its input, or of who reads it."""
        if self.is_open:
            self.is_open = False
            os.close(self._pipe)

    def _forget_terminal(self) -> None:
        """Have what is still said vanish, as the terminal has hung up: a process that had the
        terminal itself would go on, as few look at what became of their messages."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.target, inheritable=False)  # which is ours (see _own_terminal)
        os.close(nowhere)

    def _move(self) -> int:
        """Copy once; return how much, 0 at the end."""
        if self._can_splice and not self._rest:
            try:
                flags = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
                return os.splice(self.source, self.target, _CHUNK_BYTES, flags=flags)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._can_splice = False  # splice(2): a file that is appended to, or of /proc
        if not self._rest:
            # More could block in a pipe or socket that has room for some.
            most = select.PIPE_BUF if self._asks_target else _CHUNK_BYTES
            self._rest = os.read(self.source, most)
        if not self._rest:
            return 0
        written = os.write(self.target, self._rest)
        self._rest = self._rest[written:]
        return written

    def _enlarge(self) -> None:
        with contextlib.suppress(OSError):  # the user's pipes have too much already
            if fcntl.fcntl(self._pipe, fcntl.F_GETPIPE_SZ) < _LARGEST_PIPE:
                fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _LARGEST_PIPE)


class LendingChannel(Channel):
    """From a pipe of the caller's, as a shell's loop may have its own input from (see give_back):
    what is in it is copied first, and taken out only when the process has read all of that."""

    def __init__(self, source: int, target: int) -> None:
        super().__init__(source, target, target)
        self._has_lent = False
        self._lent_bytes = 0
        # Of one page, in which there is room only when the process has read all of it.
        fcntl.fcntl(target, fcntl.F_SETPIPE_SZ, select.PIPE_BUF)

    @property
    def awaits_target(self) -> bool:
        """Whether there is something to be written, or to be read by the process."""
        return super().awaits_target or self._lent_bytes > 0

    def give_back(self, unread_bytes: int) -> None:
        """Take out only what the process has read."""
        self._take(self._lent_bytes - unread_bytes)

    def _move(self) -> int:
        if not self._has_lent:
            self._lent_bytes = _tee(self.source, self.target, _CHUNK_BYTES)
            self._has_lent = True
            return self._lent_bytes
        if self._lent_bytes:
            self._take(self._lent_bytes)
            self._lent_bytes = 0
            with contextlib.suppress(OSError):  # the user's pipes have too much already
                fcntl.fcntl(self.target, fcntl.F_SETPIPE_SZ, _DEFAULT_PIPE)
        return super()._move()

    def _take(self, size: int) -> None:
        while size > 0 and _is_ready(self.source, select.POLLIN):  # else somebody else has it
            size -= len(os.read(self.source, size)) or size


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
            self.stdout = self._make_output(streams.stdout)
            # In one pipe both keep their order. Two descriptors of one file, each with its own
            # place in it, would overwrite each other.
            is_same = os.path.sameopenfile(streams.stdout, streams.stderr)
            self.stderr = self.stdout if is_same else self._make_output(streams.stderr)
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

    def open_channels(self) -> list[Channel]:
        """Return what there is still to be copied through."""
        return [channel for channel in (self._input, *self._outputs) if channel and channel.is_open]

    def has_output(self) -> bool:
        """Say whether something that the process has written waits to be copied."""
        return any(
            channel.is_open and (channel.awaits_target or _is_ready(*channel.awaited))
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

    def _make_output(self, target: int) -> int:
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
        self._outputs.append(Channel(reading, target, reading))
        return writing

    def _is_handed_on(self, descriptor: int) -> bool:
        return self._streams.hands_on_terminals and os.isatty(descriptor)


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


def _tee(source: int, target: int, most: int) -> int:
    """Copy from a pipe what stays in it (tee(2), which Python has not); return how much, 0 at its
    end. Raises BlockingIOError if there is nothing, or no room."""
    flags = os.SPLICE_F_NONBLOCK
    copied = int(_libc.tee(source, target, ctypes.c_size_t(most), flags))
    if copied < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return copied


def _is_for_reading(descriptor: int) -> bool:
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY


def _is_ready(descriptor: int, event: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(0))


def _name(descriptor: int) -> str:
    """What a person knows it by: proc_pid_fd(5)."""
    return os.readlink(f"/proc/self/fd/{descriptor}")
