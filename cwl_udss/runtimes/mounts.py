# SPDX-License-Identifier: Apache-2.0
"""A sandbox's mounts as a plan: each destination resolved inside the image, in the order to apply.

The image is untrusted. `bwrap` makes mount points through the image's symbolic links, out to the
host if they say so (bubblewrap issues 195, 390, 479), so no destination reaches it that still has a
link on its way. Nothing is ever written into the image: a directory of it that lacks a mount point
is *opened*, which means replaced by a tmpfs into which its entries are bound one by one. Conversion
makes the usual mount points, so that this is rare; each bind costs time.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import replace
from operator import attrgetter

from cwl_udss.errors import SandboxError
from cwl_udss.files.paths import components, walk
from cwl_udss.runtimes.operations import (
    SHARED_MEMORY,
    SPECIAL_MOUNTS,
    MakeDirectory,
    MakeSymlink,
    Mount,
    MountBind,
    MountFile,
    MountOverlay,
    MountSpecial,
    MountTmpfs,
    Operation,
    RemountReadOnly,
    WriteFile,
    is_directory_mount,
)
from cwl_udss.sandbox import RootFilesystem, Sandbox


def plan_mounts(sandbox: Sandbox) -> tuple[Operation, ...]:
    """Return the operations that make the sandbox's view, parents before what is in them.

    Reads the image's directories and makes missing mount points inside *writable* binds; changes
    nothing else. Raises SandboxError for a destination that cannot be had.
    """
    plan = _Plan(sandbox.root, sandbox.writable_root)
    requested: list[Mount] = [
        *map(MountSpecial, SPECIAL_MOUNTS),
        *map(MountTmpfs, sandbox.directories),
        *(MountTmpfs(memory.path, True, memory.size_bytes) for memory in sandbox.memory),
        *map(MountBind.of, sandbox.binds),
        *itertools.starmap(MountFile, sandbox.files.items()),
    ]
    # Parents first, so that a mount is never hidden by a later one above it.
    for mount in sorted(requested, key=lambda mount: components(plan.resolve(mount.path).path)):
        plan.add(mount)
    operations = tuple(plan.operations())
    if sandbox.writable_root and plan.lacks_directory(sandbox.working_directory):
        return (*operations, MakeDirectory(sandbox.working_directory))
    return operations


class _Place:
    """A path of the sandbox without a link on its way: what is there, and what is mounted on it."""

    def __init__(
        self, path: str, parent: _Place | None, holder: Mount | None, location: str | None
    ) -> None:
        """`holder` is the mount that it is in, None for the image. `location` is where the host has
        what that shows there, None if it is in memory."""
        self.path = path
        self.parent = parent or self  # /.. is /
        self.holder = holder
        self.location = location
        self.mount: Mount | None = None
        self.children: dict[str, _Place] = {}
        self.is_opened = False
        """Whether it is a directory in memory, into which what is there is bound piece by piece."""
        self.is_replaced = False
        """Whether the image's entry had to go from an opened directory."""
        self._mode: int | None = None if parent else stat.S_IFDIR

    def child(self, name: str) -> _Place:
        """Return the place of that name in this one, whether there is anything or not."""
        if name not in self.children:
            holder, location = self.mount or self.holder, self.location
            if self.mount is not None:
                location = self.mount.source if isinstance(self.mount, MountBind) else None
            below = None if location is None else posixpath.join(location, name)
            self.children[name] = _Place(posixpath.join(self.path, name), self, holder, below)
        return self.children[name]

    @property
    def is_in_memory(self) -> bool:
        """Whether it is in a directory in memory, as every sandbox has one in its /dev."""
        shared = isinstance(self.holder, MountSpecial) and self.path.startswith(SHARED_MEMORY)
        return shared or isinstance(self.holder, MountTmpfs)

    @property
    def mode(self) -> int:
        """What is there, below whatever is mounted on it: st_mode of stat(2), 0 for nothing."""
        if self._mode is None:
            self._mode = 0
            if self.location is not None and self.parent.can_be_mounted_on(directory=True):
                with contextlib.suppress(OSError):
                    self._mode = os.lstat(self.location).st_mode
        return self._mode

    def link_target(self) -> str | None:
        """The text of the symbolic link, None if it is none. No parent is a link, so that looking
        on the host cannot lead out."""
        if self.mount is not None or self.location is None or not stat.S_ISLNK(self.mode):
            return None
        if isinstance(self.holder, MountBind):
            raise SandboxError(
                f"{self.path} is a symbolic link in a directory of the host",
                "nothing can be mounted below it",
            )
        return os.readlink(self.location)

    def can_be_mounted_on(self, *, directory: bool) -> bool:
        """Say whether there is a directory, or else a file."""
        if self.mount is not None:
            return is_directory_mount(self.mount) == directory
        return stat.S_ISDIR(self.mode) if directory else stat.S_ISREG(self.mode)

    def put(self, mount: Mount) -> None:
        """Mount; what is below is from then on what the mount shows."""
        if self._holds_mounts():
            raise SandboxError(
                f"nothing can be mounted at {self.path}", "something is mounted below it already"
            )
        self.mount = mount
        self.children = {}

    def is_link_in_bind(self) -> bool:
        """Say whether it is a symbolic link in a directory of the host that is not written to."""
        holder = self.holder
        return isinstance(holder, MountBind) and not holder.writable and stat.S_ISLNK(self.mode)

    def _holds_mounts(self) -> bool:
        return any(child.mount or child._holds_mounts() for child in self.children.values())

    def replace(self) -> None:
        """Leave what is there out, if there is anything: its directory is opened."""
        self.parent.is_opened = True
        self.is_replaced = True
        self.location = self._mode = None

    def make(self, *, directory: bool) -> None:
        """Make a mount point in a directory of the host that the step may write to anyway."""
        assert isinstance(self.holder, MountBind)
        if not self.holder.writable or self.location is None or self.mode:
            raise SandboxError(
                f"nothing can be mounted at {self.path}",
                f"{self.holder.path} is not writable or has something else of that name",
            )
        if directory:
            os.mkdir(self.location)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(self.location, flags))
        self._mode = None


class _Plan:
    """The mounts so far, in a tree of places."""

    def __init__(self, root: RootFilesystem, is_writable: bool) -> None:
        self._root = str(root.path)
        self._is_writable = is_writable
        self._top = _Place("/", None, None, str(root.here))

    def resolve(self, destination: str) -> _Place:
        """Follow the image's symbolic links, as a process whose root is the image would."""
        try:
            return walk(
                destination, self._top, _Place.child, attrgetter("parent"), _Place.link_target
            )
        except OSError as error:
            raise SandboxError(
                f"the symbolic links of the image lead {destination} in a circle",
                "the image cannot be used with this path",
            ) from error

    def lacks_directory(self, path: str) -> bool:
        """Say whether a working directory is to be made. Raises SandboxError if it cannot be."""
        try:
            place = self.resolve(path)
        except SandboxError:  # by a link of the host, which is followed when it is entered
            return False
        if place.mount or place.mode:
            return False
        if isinstance(place.holder, MountBind) and not place.holder.writable:
            raise SandboxError(
                f"the working directory {path} does not exist in the container",
                f"{place.holder.path} is read-only, so that it cannot be made",
            )
        return True

    def add(self, mount: Mount) -> None:
        """Place a mount, making room for its mount point."""
        if isinstance(mount, MountSpecial):  # whatever the image has there
            place = self._top.child(mount.path[1:])
        else:
            place = self._destination(mount)
            if not mount.path.startswith("/") or place is self._top:
                raise SandboxError(
                    f"{mount.path!r} cannot be a directory of the sandbox",
                    "it must be an absolute path below /",
                )
            if place.path in SPECIAL_MOUNTS:
                raise SandboxError(f"{mount.path} is the sandbox's own", "choose another path")
        _make_room(place, is_directory=is_directory_mount(mount), is_writable=self._is_writable)
        place.put(mount if mount.path == place.path else replace(mount, path=place.path))

    def _destination(self, mount: Mount) -> _Place:
        """Where a mount goes. What is bound at a link of a directory of the host takes its place:
        the host's links are never followed."""
        *above, name = components(mount.path) or ("..",)
        if isinstance(mount, MountBind) and name != "..":
            place = self.resolve("/".join(above)).child(name)
            if place.is_link_in_bind() or place.link_target() is None:
                return place
        return self.resolve(mount.path)

    def operations(self) -> Iterator[Operation]:
        """All operations in the order in which they are to be applied."""
        if self._is_writable:
            yield MountOverlay("/", self._root)
        elif not self._top.is_opened:
            yield MountBind("/", self._root, writable=False, is_directory=True)
        in_memory = []
        pending = [self._top]
        while pending:
            place = pending.pop()
            pending += (place.children[name] for name in sorted(place.children, reverse=True))
            if place.is_opened:
                if self._is_writable or place is not self._top:  # that is one to begin with
                    yield MountTmpfs(place.path)
                yield from self._entries(place)
            elif isinstance(place.mount, MountFile) and self._is_writable and not place.holder:
                # Whoever makes users of his own must have /etc/passwd written to, and replaced.
                yield WriteFile(place.path, place.mount.content)
            elif place.mount is not None:
                yield place.mount
            if place.is_opened or (
                isinstance(place.mount, MountTmpfs) and not place.mount.writable
            ):
                in_memory.append(place.path)
        yield from map(RemountReadOnly, reversed(in_memory))

    def _entries(self, place: _Place) -> Iterator[Operation]:
        """What was in an opened directory, less what is replaced."""
        holder, location = place.mount or place.holder, place.location
        if isinstance(place.mount, MountBind):
            location = place.mount.source
        assert location is not None
        with os.scandir(location) as entries:
            found = sorted(entries, key=attrgetter("name"))
        for entry in found:
            here = place.children.get(entry.name)
            if here is not None and (here.mount or here.is_opened or here.is_replaced):
                continue
            path = posixpath.join(place.path, entry.name)
            if entry.is_symlink():
                yield MakeSymlink(path, os.readlink(entry.path))
            elif entry.is_dir() or entry.is_file():
                # The image may be in other namespaces than ours.
                source = entry.path if isinstance(holder, MountBind) else self._root + path
                yield MountBind(path, source, False, is_directory=entry.is_dir())


def _make_room(place: _Place, *, is_directory: bool, is_writable: bool) -> None:
    """See to it that a mount point can be made at a place without touching the image; over one that
    is written to it is made as any other."""
    lineage = [place]
    while lineage[-1].parent.parent is not lineage[-1].parent:
        lineage.append(lineage[-1].parent)
    for ancestor in reversed(lineage):
        directory = is_directory or ancestor is not place
        if ancestor.can_be_mounted_on(directory=directory):
            continue
        if is_writable and ancestor.holder is None and not ancestor.mode:
            return
        if ancestor.holder is None or ancestor.is_link_in_bind():
            ancestor.replace()
            return  # what is below is made in the opened directory
        if isinstance(ancestor.holder, MountBind):
            ancestor.make(directory=directory)
        elif not ancestor.is_in_memory:
            raise SandboxError(
                f"{place.path} cannot be made in {ancestor.holder.path}", "choose another path"
            )
