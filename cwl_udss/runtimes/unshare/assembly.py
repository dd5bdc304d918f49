# SPDX-License-Identifier: Apache-2.0
"""A sandbox's view as the system calls that put it together, in a mount namespace of its own.

It is built in a directory of this package that gives way to it: nobody needs that any more there,
and no step is given it. Flags are set for all that a bind brings along (see attributes.py).
"""

from __future__ import annotations

import itertools
import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.machine_code.program import Call, Variable
from cwl_udss.runtimes.mounts import plan_mounts
from cwl_udss.runtimes.operations import (
    KERNEL_SETTINGS,
    MakeSymlink,
    MountBind,
    MountFile,
    MountSpecial,
    MountTmpfs,
    Operation,
    RemountReadOnly,
)
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.runtimes.unshare.attributes import (
    NO_DEVICES,
    NO_PROGRAMS,
    NO_SETUID,
    READ_ONLY,
    attributes_here,
)
from cwl_udss.runtimes.unshare.file_calls import (
    chdir,
    make_file,
    mkdir,
    mount,
    symlink,
    write_file,
)
from cwl_udss.runtimes.words import check_words
from cwl_udss.sandbox import Sandbox

PLACE = os.path.dirname(os.path.realpath(__file__))
"""The directory that gives way."""
FILES = f"{PLACE}/tree"
"""In it: a directory in memory for what is needed."""
ROOT = f"{FILES}/root"
"""Where the sandbox's root is, until that is entered."""

# linux/mount.h
_BIND, _MOVE, _RECURSIVE, _UNBINDABLE, _DETACH = 4096, 8192, 16384, 1 << 17, 2

# What there is of the host's devices, as bwrap(1) --dev has it.
_DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
_MASK = "mask"
_DEVICE_LINKS = {
    "core": "/proc/kcore",
    "fd": "/proc/self/fd",
    "ptmx": "pts/ptmx",
    "stderr": "/proc/self/fd/2",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
}


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """What there is to put together, besides the operations of a plan."""

    shared_memory_bytes: int | None
    is_root: bool
    """Whether the caller is the machine's root, to whom the kernel allows to change its settings
    without any capability (test_perm() in its fs/proc/proc_sysctl.c)."""
    terminal: str | None = None
    """The path of the caller's, if the command has it."""
    inside: int | None = None
    """A process in whose mount namespace it is put together (see RootFilesystem)."""

    @classmethod
    def of(cls, sandbox: Sandbox, pipes: Pipes) -> Assembly:
        """Return that of a sandbox, for this caller."""
        has_terminal = pipes.relay is not None and os.isatty(pipes.stdout)
        return cls(
            shared_memory_bytes=sandbox.shared_memory_bytes,
            is_root=os.geteuid() == 0,
            terminal=os.ttyname(pipes.stdout) if has_terminal else None,
            inside=sandbox.root.mounted_by,
        )

    def calls(self, sandbox: Sandbox) -> list[Call]:
        """Return the calls; after them the root filesystem is the current directory. Raises
        SandboxError if the sandbox is impossible."""
        check_words(sandbox.command, sandbox.environment)
        try:
            operations = plan_mounts(sandbox)
            added = map(_Builder(self).add, operations)
            return [*_begin(), *itertools.chain.from_iterable(added)]
        except OSError as error:
            raise SandboxError("the sandbox cannot be prepared", str(error)) from error


def enter_root() -> Iterator[Call]:
    """Make the sandbox's root the root, and leave nothing of the host's: pivot_root(2).

    That cannot be done to what a kernel starts with, which is the root of diskless nodes. So what
    the sandbox's root is in covers it first, as Charliecloud has it (bin/ch_core.c).
    """
    purpose = "the root filesystem cannot be entered"
    yield chdir(FILES)
    yield Call(name="mount", arguments=(b".\0", b"/\0", 0, _MOVE, 0), purpose=purpose)
    yield Call(name="chroot", arguments=(b".\0",), purpose=purpose)
    yield chdir(posixpath.basename(ROOT))
    yield Call(name="pivot_root", arguments=(b".\0", b".\0"), purpose=purpose)
    yield Call(name="umount2", arguments=(b".\0", _DETACH), purpose=purpose)
    yield chdir("/")


def cover(path: str) -> Call:
    """Have what the sandbox has at a path in the place of what the host has there."""
    return mount(_inside(path), path, None, _BIND | _RECURSIVE)


def leave_only(directory: str, name: str, files: Mapping[str, bytes]) -> Iterator[Call]:
    """Have nothing in a directory of the host but one file, if that is there, and generated ones
    of other names."""
    place = f"{FILES}/only"
    yield mkdir(place)
    for other, content in files.items():
        yield from write_file(f"{place}/{other}", content)
    if os.path.exists(f"{directory}/{name}"):
        yield make_file(f"{place}/{name}")
        yield mount(f"{directory}/{name}", f"{place}/{name}", None, _BIND)
    yield mount(place, directory, None, _BIND | _RECURSIVE)


def _begin() -> Iterator[Call]:
    # Directories are as they were asked for; give_back_mask() is for the command.
    yield Call(name="umask", arguments=(0,), purpose="umask", result=_MASK)
    yield mount("tmpfs", PLACE, "tmpfs", NO_SETUID | NO_DEVICES, options="mode=0700")
    # Else a bind of a directory above would include it.
    yield mount("none", PLACE, None, _UNBINDABLE)
    for path in (FILES, ROOT):
        yield mkdir(path)
        yield mount("tmpfs", path, "tmpfs", NO_SETUID | NO_DEVICES, options="mode=0755")
    yield chdir(ROOT)


def give_back_mask() -> Call:
    """Have new files made as the caller's are."""
    return Call(name="umask", arguments=(Variable(_MASK),), purpose="umask")


class _Builder:
    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._attributes = attributes_here(assembly.inside)
        self._files = 0
        self._in_memory = {"/"}
        """Mounts in which mount points are to be made."""
        self._mounts = {"/"}
        self._there: set[str] = {"/"}
        """What has been made in them."""

    def add(self, operation: Operation) -> Iterator[Call]:
        """Yield the calls of an operation, parents coming before what is in them."""
        path = operation.path
        match operation:
            case MountBind("/", source):
                self._in_memory.discard("/")
                yield from self._bind(source, "/", is_writable=False)
                # What was the current directory is below that now.
                yield chdir(ROOT)
            case MountBind(_, source, writable, is_directory):
                yield from self._mount_point(path, is_directory=is_directory)
                yield from self._bind(source, path, is_writable=writable)
            case MountFile(_, content):
                yield from self._mount_point(path, is_directory=False)
                self._files += 1
                name = f"{FILES}/{self._files}"
                yield from write_file(name, content)
                yield from self._bind(name, path, is_writable=False)
            case MountTmpfs():
                yield from self._mount_point(path, is_directory=True)
                yield from self._memory(path, "mode=0755")
            case MakeSymlink(_, target):
                yield from self._parents(path)
                yield symlink(target, _inside(path))
            case RemountReadOnly():
                yield from self._attributes.add(_inside(path), READ_ONLY)
            case MountSpecial("/proc"):
                yield from self._mount_point(path, is_directory=True)
                yield from self._proc()
            case MountSpecial("/sys"):
                yield from self._mount_point(path, is_directory=True)
                yield from self._bind(path, path, is_writable=False)
            case MountSpecial():
                yield from self._mount_point(path, is_directory=True)
                yield from self._devices(path)

    def _bind(self, source: str, path: str, *, is_writable: bool) -> Iterator[Call]:
        self._mounts.add(path)
        yield mount(
            source,
            _inside(path),
            None,
            _BIND | _RECURSIVE,
            purpose=f"{source} cannot be shown at {path}",
        )
        attributes = NO_SETUID | NO_DEVICES | (0 if is_writable else READ_ONLY)
        yield from self._attributes.add_to_bind(source, _inside(path), attributes)

    def _memory(self, path: str, options: str) -> Iterator[Call]:
        self._mounts.add(path)
        self._in_memory.add(path)
        self._there.add(path)
        yield mount("tmpfs", _inside(path), "tmpfs", NO_SETUID | NO_DEVICES, options=options)

    def _proc(self) -> Iterator[Call]:
        self._mounts.add("/proc")
        flags = NO_SETUID | NO_DEVICES | NO_PROGRAMS
        yield mount("proc", "proc", "proc", flags)
        covered = KERNEL_SETTINGS if self._assembly.is_root else ()
        for path in filter(os.path.exists, covered):
            yield mount(_inside(path), _inside(path), None, _BIND | _RECURSIVE)
            yield from self._attributes.add(_inside(path), READ_ONLY | NO_PROGRAMS)

    def _devices(self, path: str) -> Iterator[Call]:
        yield from self._memory(path, "mode=0755")
        here = _inside(path)
        console = self._assembly.terminal
        devices = {name: f"/dev/{name}" for name in _DEVICES}
        devices |= {} if console is None else {"console": console}
        for name, source in devices.items():
            yield make_file(f"{here}/{name}")
            yield mount(source, f"{here}/{name}", None, _BIND)
            # What is written to a device is none of its filesystem's; its mode is, and root's.
            attributes = NO_SETUID | READ_ONLY
            yield from self._attributes.add_to_bind(source, f"{here}/{name}", attributes)
        for name, target in _DEVICE_LINKS.items():
            yield symlink(target, f"{here}/{name}")
        yield mkdir(f"{here}/pts")
        terminals = "newinstance,ptmxmode=0666,mode=620"
        yield mount("devpts", f"{here}/pts", "devpts", NO_SETUID | NO_PROGRAMS, options=terminals)
        size = self._assembly.shared_memory_bytes
        limit = "" if size is None else f",size={size}"
        yield mkdir(f"{here}/shm")
        yield from self._memory(f"{path}/shm", f"mode=1777{limit}")
        yield from self._attributes.add(here, READ_ONLY)

    def _mount_point(self, path: str, *, is_directory: bool) -> Iterator[Call]:
        """What makes it, where the plan has left that: in memory."""
        if not self._is_to_be_made(path):
            return
        yield from self._parents(path)
        yield mkdir(_inside(path)) if is_directory else make_file(_inside(path))
        self._there.add(path)

    def _parents(self, path: str) -> Iterator[Call]:
        above = posixpath.dirname(path)
        if self._is_to_be_made(above):
            yield from self._parents(above)
            yield mkdir(_inside(above))
            self._there.add(above)

    def _is_to_be_made(self, path: str) -> bool:
        if path in self._there:
            return False
        above = posixpath.dirname(path)
        while above not in self._mounts:
            above = posixpath.dirname(above)
        return above in self._in_memory


def _inside(path: str) -> str:
    """A path of the sandbox as it is called from its root's directory, the current one."""
    return path.lstrip("/") or "."
