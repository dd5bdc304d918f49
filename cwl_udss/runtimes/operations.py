# SPDX-License-Identifier: Apache-2.0
"""What is done to make a sandbox's view, step by step, as data."""

from __future__ import annotations

import os

from cwl_udss.records import record
from cwl_udss.sandbox import Bind


@record(frozen=True)
class MountTmpfs:
    """An empty directory in memory, read-only in the end if nobody is to write to it."""

    path: str
    writable: bool = False
    size_bytes: int | None = None


@record(frozen=True)
class MountOverlay:
    """A directory over which is written into memory."""

    path: str
    source: str


@record(frozen=True)
class MakeDirectory:
    """A directory where something is written to."""

    path: str


@record(frozen=True)
class WriteFile:
    """A file where something is written to, in the place of any other."""

    path: str
    content: bytes


@record(frozen=True)
class MountBind:
    """A file or directory of the host."""

    path: str
    source: str
    writable: bool
    is_directory: bool

    @classmethod
    def of(cls, bind: Bind) -> MountBind:
        """Return what shows what is there now."""
        source = bind.source
        if not os.path.isabs(source):  # runtimes look for it from other directories
            source = os.path.join(os.getcwd(), source)
        return cls(bind.destination, source, bind.writable, os.path.isdir(source))


@record(frozen=True)
class MountFile:
    """A read-only file with these contents."""

    path: str
    content: bytes


@record(frozen=True)
class MountSpecial:
    """One of the file systems that every sandbox has: the path says which."""

    path: str


@record(frozen=True)
class MakeSymlink:
    """A symbolic link of the image, made again in an opened directory."""

    path: str
    target: str


@record(frozen=True)
class RemountReadOnly:
    """No more writing to the tmpfs at this path."""

    path: str


Mount = MountTmpfs | MountBind | MountFile | MountSpecial
Operation = Mount | MountOverlay | MakeDirectory | WriteFile | MakeSymlink | RemountReadOnly
# Made by the runtime whatever the image has at these names.
SPECIAL_MOUNTS = ("/dev", "/proc", "/sys")
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a path in the sandbox
# Which of /proc are read-only in Docker's containers.
KERNEL_SETTINGS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def is_directory_mount(mount: Mount) -> bool:
    """Say whether it is a directory that is mounted, and not a file."""
    return mount.is_directory if isinstance(mount, MountBind) else not isinstance(mount, MountFile)
