# SPDX-License-Identifier: Apache-2.0
"""A program that starts a command in a sandbox that runs: with what that one is kept from, too.

Arguments are the numbers of three descriptors: of the words to follow (each ended by a NUL), of the
program of the system call filter, and of where to say what bwrap(1) says by --json-status-fd. Uses
nothing of this package, as Python is started without what it would be found by.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys

_OWNER_OF_NAMESPACE = 0xB701  # NS_GET_USERNS of ioctl_nsfs(2)
_SET_DEATH_SIGNAL, _SET_DUMPABLE, _DROP_FROM_BOUNDING, _NO_NEW_PRIVILEGES = 1, 4, 24, 38
_AMBIENT = 47
_CLEAR_ALL = 4  # PR_CAP_AMBIENT_CLEAR_ALL
_SET_SECCOMP, _FILTER_MODE = 22, 2  # prctl(2)
_KILL = 9
_CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3 of capset(2)
_MOST_CAPABILITIES = 64
_NAMESPACES = ("mnt", "ipc", "uts", "net", "pid")
_INSTRUCTION_BYTES = 8  # struct sock_filter
_IGNORED_BY_PYTHON = (13, 25)  # SIGPIPE and SIGXFSZ of signal(7)
_libc = ctypes.CDLL(None, use_errno=True)
_libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)


class _Program(ctypes.Structure):
    """Of seccomp(2): struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def enter_namespaces(process: int) -> None:
    """Enter all namespaces of a process, but those that are this one's already; this process ends
    with its parent from then on.

    bwrap may have made a user namespace within the one that owns the others: only in that one,
    entered first, is there the right to enter these (setns(2)).
    """
    _checked(_libc.prctl(_SET_DEATH_SIGNAL, _KILL, 0, 0, 0), "death signal")
    # Nor may the sandbox get at what this program is made of, by /proc/PID/exe: the way of
    # CVE-2019-5736. A new program can be looked at again.
    _checked(_libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")
    files = {
        name: os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        for name in (*_NAMESPACES, "user")
    }
    own = {name: os.stat(f"/proc/self/ns/{name}").st_ino for name in files}
    owner = fcntl.ioctl(files["mnt"], _OWNER_OF_NAMESPACE)
    _checked(_libc.setns(owner, 0), "user namespace")
    for name in _NAMESPACES:
        if os.fstat(files[name]).st_ino != own[name]:
            _checked(_libc.setns(files[name], 0), f"namespace {name}")
    if os.fstat(files["user"]).st_ino != os.fstat(owner).st_ino:
        _checked(_libc.setns(files["user"], 0), "user namespace")
    for descriptor in (*files.values(), owner):
        os.close(descriptor)


def _give_up_privileges(program: bytes) -> None:
    """Have what the sandbox's own command has: no capabilities, and its filter."""
    for number in range(_MOST_CAPABILITIES):
        _libc.prctl(_DROP_FROM_BOUNDING, number, 0, 0, 0)  # fails for those that there are not
    _libc.prctl(_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    _checked(_libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no_new_privs")
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capabilities")
    _checked(_libc.prctl(_SET_DEATH_SIGNAL, _KILL, 0, 0, 0), "death signal")
    filter_program = _Program(len(program) // _INSTRUCTION_BYTES, program)
    _checked(_libc.prctl(_SET_SECCOMP, _FILTER_MODE, ctypes.byref(filter_program), 0, 0), "seccomp")


def _be_command(words: list[bytes], program: bytes, failed: int) -> None:
    """Become the command; if that fails say so."""
    directory, number, *rest = words
    variables = dict(word.split(b"=", 1) for word in rest[: int(number)])
    command = rest[int(number) :]
    try:
        os.chdir(directory)
        for ignored in _IGNORED_BY_PYTHON:  # the command would, too
            _libc.signal(ignored, None)
        _give_up_privileges(program)
        _execute(command, variables)
    except OSError as error:
        os.write(failed, b"x")
        os.write(2, f"{os.fsdecode(command[0])}: {error.strerror}\n".encode())
    except Exception as error:  # noqa: BLE001 - nothing of this program may go on in the sandbox
        os.write(2, f"cwl-udss: {error!r}\n".encode())
    finally:
        os._exit(127)


def _execute(command: list[bytes], variables: dict[bytes, bytes]) -> None:
    """As os.execvpe(), which imports a module: in the sandbox there is none of Python's."""
    name = command[0]
    places = [b""] if b"/" in name else variables.get(b"PATH", b"").split(b":")
    failure = OSError(errno.ENOENT, "executable file not found in $PATH")
    for place in places:
        try:
            os.execve(os.path.join(place, name), command, variables)  # noqa: S606
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                failure = error
    raise failure


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as stream:
        return stream.read()


def main() -> None:
    """Start the command, and wait for its end."""
    given, filter_descriptor, status = map(int, sys.argv[1:])
    process, *words = _read(given).split(b"\0")[:-1]
    program = _read(filter_descriptor)
    enter_namespaces(int(process))
    reading, writing = os.pipe()
    child = os.fork()  # the first in the PID namespace
    if not child:
        os.close(status)
        os.close(reading)
        _be_command(words, program, writing)
    os.close(writing)
    os.write(status, b'{"child-pid": %d}\n' % child)
    has_failed = os.read(reading, 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if has_failed:
        sys.exit(127)
    os.write(status, b'{"exit-code": %d}\n' % (code if code >= 0 else 128 - code))


if __name__ == "__main__":
    main()
