# SPDX-License-Identifier: Apache-2.0
"""What mounts are protected by, and the system calls that add it to one, or to all below it.

mount_setattr(2) does so since Linux 5.12. Before that each mount is remounted by itself, with all
the flags that it has already: none may be taken from one that comes from outside the user namespace
(mount_namespaces(7)). What is mounted below something bound is read beforehand then.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass

from cwl_udss.runtimes.machine_code.program import Call
from cwl_udss.runtimes.unshare.file_calls import remount, set_attributes

# As mount(2) has them, and as mount_setattr(2) does.
READ_ONLY, NO_SETUID, NO_DEVICES, NO_PROGRAMS = 1, 2, 4, 8
_BY_NAME = {b"ro": READ_ONLY, b"nosuid": NO_SETUID, b"nodev": NO_DEVICES}
# When files were last read goes on as it is: no flag of it is given.
_BY_NAME |= {b"noexec": NO_PROGRAMS, b"nosymfollow": 256}
_ALL_BELOW = 0x8000  # AT_RECURSIVE
_MOUNT_SETATTR = 442  # on all architectures


@dataclass(frozen=True)
class Attributes:
    """Adds attributes, by one call for all that a bind has brought along."""

    def add(self, path: str, attributes: int) -> Iterator[Call]:
        """Add some to one mount of our own, which has none but of these."""
        yield set_attributes(path, attributes)

    def add_to_bind(self, source: str, path: str, attributes: int) -> Iterator[Call]:
        """Add some to what was bound at a path, and all below it."""
        yield set_attributes(path, attributes, _ALL_BELOW)


@dataclass(frozen=True)
class OldAttributes(Attributes):
    """Adds attributes with an older kernel."""

    mounts: dict[str, int]
    """Of the host, with their flags."""

    def add(self, path: str, attributes: int) -> Iterator[Call]:
        """Add some to one mount of our own."""
        yield remount(path, attributes | NO_SETUID | NO_DEVICES)

    def add_to_bind(self, source: str, path: str, attributes: int) -> Iterator[Call]:
        """Add some to what was bound at a path, and to each that was below it."""
        origin = os.path.realpath(source)
        yield remount(path, attributes | self._flags_at(origin))
        for mount, flags in self.mounts.items():
            if mount.startswith(f"{origin.rstrip('/')}/") and mount != origin:
                below = mount[len(origin.rstrip("/")) :]
                yield remount(path.rstrip("/") + below, attributes | flags)

    def _flags_at(self, path: str) -> int:
        while path not in self.mounts and path != "/":
            path = os.path.dirname(path)
        return self.mounts.get(path, 0)


def attributes_here(inside: int | None) -> Attributes:
    """Return what adds them with this kernel, in the mount namespace of a process."""
    return Attributes() if _has_mount_setattr() else OldAttributes(_mounts(inside))


@functools.cache
def _has_mount_setattr() -> bool:
    """Say whether the kernel knows it, and nobody forbids it: without arguments it is refused."""
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall(_MOUNT_SETATTR, -1, b"", 0, None, 0)
    return ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM)


def _mounts(process: int | None) -> dict[str, int]:
    """All mounts by path, with their flags; of several at one path the last is the one seen."""
    found = {}
    with open(f"/proc/{process or 'self'}/mountinfo", "rb") as stream:
        for line in stream:
            _, _, _, _, path, options, _ = line.split(b" ", 6)
            names = options.split(b",")
            found[_unescaped(path)] = sum(_BY_NAME.get(name, 0) for name in names)
    return found


def _unescaped(path: bytes) -> str:
    r"""A path of /proc/self/mountinfo, where characters are written as `\040`: proc(5)."""
    if b"\\" in path:
        path = path.decode("unicode_escape").encode("latin-1")
    return os.fsdecode(path)
