# SPDX-License-Identifier: Apache-2.0
"""A sandbox's mounts as a plan: each destination resolved inside the image, in the order to apply.

The image is untrusted. `bwrap` makes mount points through the image's symbolic links, out to the
host if they say so (bubblewrap issues 195, 390, 479), so no destination reaches it that still has a
link on its way. Nothing is ever written into the image: a directory of it that lacks a mount point
is *opened*, which means replaced by a tmpfs into which its entries are bound one by one. Conversion
makes the usual mount points, so that this is rare; each bind costs time.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from cwl_udss.errors import SandboxError
from cwl_udss.paths import components, follow_links
from cwl_udss.sandbox import RootFilesystem, Sandbox


@dataclass(frozen=True)
class MountTmpfs:
    """An empty directory in memory."""

    path: str


@dataclass(frozen=True)
class MountBind:
    """A file or directory of the host."""

    path: str
    source: str
    writable: bool


@dataclass(frozen=True)
class MountFile:
    """A read-only file with these contents."""

    path: str
    content: bytes


@dataclass(frozen=True)
class MountSpecial:
    """One of the file systems that every sandbox has: the path says which."""

    path: str


@dataclass(frozen=True)
class MakeSymlink:
    """A symbolic link of the image, made again in an opened directory."""

    path: str
    target: str


@dataclass(frozen=True)
class RemountReadOnly:
    """No more writing to the tmpfs at this path."""

    path: str


Mount = MountTmpfs | MountBind | MountFile | MountSpecial
Operation = Mount | MakeSymlink | RemountReadOnly

# Made by the runtime whatever the image has at these names.
SPECIAL_MOUNTS = ("/dev", "/proc", "/sys")


def plan_mounts(sandbox: Sandbox) -> tuple[Operation, ...]:
    """Return the operations that make the sandbox's view, parents before what is in them.

    Reads the image's directories and makes missing mount points inside *writable* binds; changes
    nothing else. Raises SandboxError for a destination that cannot be had.
    """
    plan = _Plan(sandbox.root)
    requested: list[tuple[str, Mount]] = [
        *((path, MountSpecial(path)) for path in SPECIAL_MOUNTS),
        *((path, MountTmpfs(path)) for path in sandbox.directories),
        *((b.destination, MountBind(b.destination, b.source, b.writable)) for b in sandbox.binds),
        *((path, MountFile(path, content)) for path, content in sandbox.files.items()),
    ]
    # Parents first, so that a mount is never hidden by a later one above it.
    for destination, mount in sorted(requested, key=lambda item: components(plan.resolve(item[0]))):
        plan.add(destination, mount)
    return tuple(plan.operations())


class _Plan:
    """The mounts so far, by resolved path; the directories of the image that are opened for them,
    and the entries of the image that had to go from these."""

    def __init__(self, root: RootFilesystem) -> None:
        self._root = str(root.path)
        self._root_here = str(root.here)
        self._mounts: dict[str, Mount] = {}
        self._opened: set[str] = set()
        self._replaced: set[str] = set()

    def add(self, destination: str, mount: Mount) -> None:
        """Place a mount, making room for its mount point."""
        if not destination.startswith("/") or self.resolve(destination) == "/":
            raise SandboxError(
                f"{destination!r} cannot be a directory of the sandbox",
                "it must be an absolute path below /",
            )
        path = destination if isinstance(mount, MountSpecial) else self.resolve(destination)
        if path in SPECIAL_MOUNTS and not isinstance(mount, MountSpecial):
            raise SandboxError(f"{destination} is the sandbox's own", "choose another path")
        self._make_room(path, is_directory=_is_directory(mount))
        self._mounts[path] = _moved(mount, path)

    def operations(self) -> Iterator[Operation]:
        """All operations in the order in which they are to be applied."""
        if "/" not in self._opened:
            yield MountBind("/", self._root, writable=False)
        for path in sorted(self._opened | self._mounts.keys(), key=components):
            if path in self._mounts:
                yield self._mounts[path]
                continue
            if path != "/":  # that is a tmpfs to begin with
                yield MountTmpfs(path)
            yield from self._entries(path)
        tmpfs = [path for path, mount in self._mounts.items() if isinstance(mount, MountTmpfs)]
        for path in sorted([*self._opened, *tmpfs], key=components, reverse=True):
            yield RemountReadOnly(path)

    def _entries(self, directory: str) -> Iterator[Operation]:
        """The image's own entries of an opened directory, less those that are replaced."""
        for name in sorted(os.listdir(self._in_image(directory))):
            path = posixpath.join(directory, name)
            if path in self._mounts or path in self._opened or path in self._replaced:
                continue
            mode = os.lstat(self._in_image(path)).st_mode
            if stat.S_ISLNK(mode):
                yield MakeSymlink(path, os.readlink(self._in_image(path)))
            elif stat.S_ISDIR(mode) or stat.S_ISREG(mode):
                yield MountBind(path, self._root + path, writable=False)

    def resolve(self, destination: str) -> str:
        """Follow the image's symbolic links, as a process whose root is the image would."""
        try:
            return follow_links(destination, self._link_target)
        except OSError as error:
            raise SandboxError(
                f"the symbolic links of the image lead {destination} in a circle",
                "the image cannot be used with this path",
            ) from error

    def _link_target(self, path: str) -> str | None:
        """The text of the symbolic link at `path`, None if there is none. Its parents are links
        no more, so that looking on the host cannot lead out."""
        if path in self._mounts:
            return None
        location = self._on_host(path)
        if location is None:
            return None
        try:
            target = os.readlink(location)
        except OSError:  # nothing there, or not a link
            return None
        if isinstance(self._mount_above(path), MountBind):
            raise SandboxError(
                f"{path} is a symbolic link in a directory of the host",
                "nothing can be mounted below it",
            )
        return target

    def _make_room(self, path: str, *, is_directory: bool) -> None:
        """See to it that a mount point can be made at `path` without touching the image."""
        names = components(path)
        for depth in range(1, len(names) + 1):
            ancestor = "/" + "/".join(names[:depth])
            wanted_directory = is_directory or depth < len(names)
            if self._has(ancestor, directory=wanted_directory):
                continue
            mount = self._mount_above(ancestor)
            if mount is None:
                self._opened.add(posixpath.dirname(ancestor))
                self._replaced.add(ancestor)
                return  # what is below is made in the opened directory
            if isinstance(mount, MountBind):
                self._make_in_bind(mount, ancestor, directory=wanted_directory)
            elif not isinstance(mount, MountTmpfs):
                raise SandboxError(f"{path} cannot be made in {mount.path}", "choose another path")

    def _has(self, path: str, *, directory: bool) -> bool:
        if path in self._mounts:
            return _is_directory(self._mounts[path]) == directory
        location = self._on_host(path)
        if location is None:
            return False
        try:
            mode = os.lstat(location).st_mode
        except OSError:
            return False
        return stat.S_ISDIR(mode) if directory else stat.S_ISREG(mode)

    def _make_in_bind(self, mount: MountBind, path: str, *, directory: bool) -> None:
        """Make a mount point in a directory of the host that the step may write to anyway."""
        location = self._on_host(path)
        if not mount.writable or location is None or os.path.lexists(location):
            raise SandboxError(
                f"nothing can be mounted at {path}",
                f"{mount.path} is not writable or has something else of that name",
            )
        if directory:
            os.mkdir(location)
        else:
            os.close(os.open(location, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC))

    def _mount_above(self, path: str) -> Mount | None:
        """The mount that holds `path`, None for the image."""
        parent = posixpath.dirname(path)
        while parent != "/":
            if parent in self._mounts:
                return self._mounts[parent]
            parent = posixpath.dirname(parent)
        return None

    def _on_host(self, path: str) -> str | None:
        """Where the host has what the sandbox will show at `path`; None if it has it nowhere."""
        mount = self._mount_above(path)
        if isinstance(mount, MountBind):
            return posixpath.join(mount.source, posixpath.relpath(path, mount.path))
        replaced = any(f"{path}/".startswith(f"{entry}/") for entry in self._replaced)
        return None if mount or replaced else self._in_image(path)

    def _in_image(self, path: str) -> str:
        return self._root_here + (path if path != "/" else "")


def _is_directory(mount: Mount) -> bool:
    if isinstance(mount, MountBind):
        return os.path.isdir(mount.source)
    return not isinstance(mount, MountFile)


def _moved(mount: Mount, path: str) -> Mount:
    if isinstance(mount, MountBind):
        return MountBind(path, mount.source, mount.writable)
    if isinstance(mount, MountFile):
        return MountFile(path, mount.content)
    return MountTmpfs(path) if isinstance(mount, MountTmpfs) else mount
