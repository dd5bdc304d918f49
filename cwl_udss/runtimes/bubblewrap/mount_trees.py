# SPDX-License-Identifier: Apache-2.0
"""Mounts directories with many binds in them, then runs the program that it is told.

Run as a program, in a user and a mount namespace that are one step's own (see trees.py). Its
arguments are a descriptor with instructions, another that somebody reads from while the step is
wanted, and a command line. As it starts with a step, it imports neither this package nor much else.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import select
import sys

# linux/mount.h
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _REMOUNT = 1, 2, 4, 32
_BIND, _RECURSIVE, _UNBINDABLE = 4096, 16384, 1 << 17
# With any of these left out, a mount from outside the user namespace cannot be remounted
# (mount_namespaces(7)). When files were last read goes on as it is: no flag of it is given.
_FLAGS = {b"ro": _READ_ONLY, b"nosuid": _NO_SETUID, b"nodev": _NO_DEVICES}
_FLAGS |= {b"noexec": 8, b"nosymfollow": 256}

_SET_CHILD_SUBREAPER, _AMBIENT_CAPABILITIES, _CLEAR_ALL = 36, 47, 4  # linux/prctl.h
_BROKEN_PIPE, _FILE_TOO_LARGE = 13, 25  # signal(7); to import `signal` takes 5 ms

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
_libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)


def main() -> None:
    """Follow the instructions, then run the command line, and end as it does."""
    place = os.path.dirname(os.path.realpath(os.fsencode(__file__)))
    instructions, reader, *command = sys.argv[1:]
    with open(int(instructions), "rb") as stream:
        *words, _ = stream.read().split(b"\0")
    try:
        _mount_all(place, list(zip(words[::3], words[1::3], words[2::3], strict=True)))
    except OSError as error:
        where = os.fsdecode(error.filename or "")
        sys.exit(f"cwl-udss: {where} cannot be mounted: {error.strerror}")
    except KeyboardInterrupt:
        sys.exit(130)
    # bwrap takes capabilities that it has not asked for as a sign of a wrong installation.
    _libc.prctl(_AMBIENT_CAPABILITIES, _CLEAR_ALL, 0, 0, 0)
    if not _has_reader(int(reader)):  # who started this died before the kernel was asked to kill it
        sys.exit(1)
    _say_what_was_used(int(reader))
    # Waits for what bwrap leaves unwaited for, so that it is counted (see accounting/watch.py).
    _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    bwrap = os.fork()  # posix_spawn(3) of glibc has the new program ignore signals 32 and 33
    if bwrap == 0:
        for number in (_BROKEN_PIPE, _FILE_TOO_LARGE):  # Python ignores them; the tool would, too
            _libc.signal(number, None)
        os.execve(command[0], command, {})  # noqa: S606 - no shell is wanted
    os.close(int(reader))  # bwrap's is then the only one
    try:
        sys.exit(_wait_for_all(bwrap))
    except KeyboardInterrupt:
        sys.exit(130)


def _say_what_was_used(descriptor: int) -> None:
    """Say what was used until now, which is none of the step's."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    user, system = round(1e6 * used.ru_utime), round(1e6 * used.ru_stime)
    os.write(descriptor, b'{"own-user-us": %d, "own-system-us": %d}\n' % (user, system))


def _wait_for_all(process: int) -> int:
    """Wait for a child and all orphans; return its exit code, 128 + n for signal n."""
    code = 0
    while True:
        try:
            ended, status = os.wait()
        except ChildProcessError:
            return code
        if ended == process:
            code = os.waitstatus_to_exitcode(status)
            code = code if code >= 0 else 128 - code


def _has_reader(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)  # errors are told in any case: poll(2)
    return not poll.poll(0)


def _mount_all(place: bytes, instructions: list[tuple[bytes, bytes, bytes]]) -> None:
    """Mount what the instructions say, below `place`, and give all of it its flags at the end."""
    _mount_memory(place)
    _mount(None, place, None, _UNBINDABLE)  # else a bind of a directory above would include it
    writable = {place: False}
    mask = os.umask(0o022)
    for kind, target, argument in instructions:
        if kind == b"directory":
            os.makedirs(target, exist_ok=True)
        elif kind == b"file":
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
        elif kind == b"symlink":
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(argument, target)
        elif kind == b"memory":
            _mount_memory(target)
            writable[target] = False
        else:
            _mount(argument, target, None, _BIND | _RECURSIVE)
            writable[target] = kind == b"bind"
    os.umask(mask)
    for target, options in _mounts_below(place).items():
        _set_flags(target, options, writable=_nearest(target, writable))


def _set_flags(target: bytes, options: bytes, *, writable: bool) -> None:
    flags = _NO_SETUID | _NO_DEVICES | (0 if writable else _READ_ONLY)
    for option in options.split(b","):
        flags |= _FLAGS.get(option, 0)
    try:
        _mount(None, target, None, _REMOUNT | _BIND | flags)
    except PermissionError as error:
        # A mount within a bind that its user may not look at, and neither may the tool.
        if error.errno != errno.EACCES:
            raise


def _nearest(target: bytes, writable: dict[bytes, bool]) -> bool:
    """What holds for a mount that a bind has brought along is what holds for the bind."""
    while target not in writable:
        target = os.path.dirname(target)
    return writable[target]


def _mounts_below(place: bytes) -> dict[bytes, bytes]:
    """The mounts at a directory and below, with their options. Of several at one path the last is
    the one that is seen."""
    with open("/proc/self/mountinfo", "rb") as stream:
        fields = [line.split(b" ", 6) for line in stream]
    mounts = {_unescaped(field[4]): field[5] for field in fields}
    return {
        path: options
        for path, options in mounts.items()
        if path == place or path.startswith(place + b"/")
    }


def _unescaped(path: bytes) -> bytes:
    r"""A path of /proc/self/mountinfo, where characters are written as `\040`: proc(5)."""
    return path.decode("unicode_escape").encode("latin-1") if b"\\" in path else path


def _mount_memory(target: bytes) -> None:
    _mount(b"tmpfs", target, b"tmpfs", _NO_SETUID | _NO_DEVICES, b"mode=0755")


def _mount(
    source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None
) -> None:
    if _libc.mount(source, target, kind, flags, data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), source or target)


if __name__ == "__main__":
    main()
