# SPDX-License-Identifier: Apache-2.0
"""Copying from one descriptor to another, one of which is a pipe, without waiting for either."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import stat

_CHUNK_BYTES = 1 << 20
# What everybody may have (fs.pipe-max-size in proc_sys_fs(5)). Only a stream that fills its pipe
# gets so much, as all pipes of a user have some 64 MiB together.
_LARGEST_PIPE = 1 << 20
_DEFAULT_PIPE = 1 << 16
_GONE = (errno.EPIPE, errno.ECONNRESET)
_libc = ctypes.CDLL(None, use_errno=True)


class Channel:
    """One way, from one descriptor to another, one of which is our end of the process's pipe."""

    def __init__(self, source: int, target: int, pipe: int, remembered_bytes: int = 0) -> None:
        """The end of what was copied is kept, in so many bytes."""
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
        self._can_splice = not remembered_bytes and (stat.S_ISREG(mode) or stat.S_ISFIFO(mode))
        self._remembered_bytes = remembered_bytes
        self.end = b""
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
            if self._remembered_bytes:
                self.end = (self.end + self._rest)[-self._remembered_bytes :]
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
        while size > 0 and is_ready(self.source, select.POLLIN):  # else somebody else has it
            size -= len(os.read(self.source, size)) or size


def is_ready(descriptor: int, event: int) -> bool:
    """Say whether an event of poll(2) has come."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(0))


def _tee(source: int, target: int, most: int) -> int:
    """Copy from a pipe what stays in it (tee(2), which Python has not); return how much, 0 at its
    end. Raises BlockingIOError if there is nothing, or no room."""
    flags = os.SPLICE_F_NONBLOCK
    copied = int(_libc.tee(source, target, ctypes.c_size_t(most), flags))
    if copied < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return copied


def _name(descriptor: int) -> str:
    """What a person knows it by: proc_pid_fd(5)."""
    return os.readlink(f"/proc/self/fd/{descriptor}")
