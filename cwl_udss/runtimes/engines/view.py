# SPDX-License-Identifier: Apache-2.0
"""A sandbox's view as an engine can be told: a root, and binds.

What is in memory elsewhere is made in a directory of the step's own, and so is every mount point,
so that no engine has to make one: not all can where they may not change the image.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.mounts import plan_mounts
from cwl_udss.runtimes.operations import (
    MakeSymlink,
    MountBind,
    MountFile,
    MountSpecial,
    MountTmpfs,
    Operation,
)
from cwl_udss.runtimes.words import check_words
from cwl_udss.sandbox import Sandbox
from cwl_udss.staging import remove_tree

_PLAIN = re.compile(r"[\w./+@%=~ -]*", re.ASCII)


def is_plain(name: str) -> bool:
    """Say whether no character of a name means anything to any engine."""
    return _PLAIN.fullmatch(name) is not None


def is_text(name: str) -> bool:
    """Say whether a name is valid UTF-8: engines hand on what they are told as JSON."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Way:
    """How an engine mounts."""

    can_be_told: Callable[[str], bool]
    """Says whether there is a way to tell it of a path in the sandbox."""
    makes_mount_points: Callable[[Path], bool] = lambda root: False
    """Says whether it makes those that a root lacks, in a layer on top of that."""
    own_files: tuple[str, ...] = ()
    """What it mounts that nobody has asked for."""


def make_view(sandbox: Sandbox, scratch: Path, stack: contextlib.ExitStack, way: Way) -> View:
    """Make the view of a step in a directory below `scratch`, which is gone when the stack is
    closed. Raises SandboxError for what this engine cannot show."""
    check_words(sandbox.command, sandbox.environment)
    if sandbox.root.mounted_by is not None:
        raise SandboxError(f"a container engine cannot enter the mount at {sandbox.root.path}")
    try:
        operations = plan_mounts(sandbox)
        if way.makes_mount_points(sandbox.root.path):
            operations = with_whole_root(operations, str(sandbox.root.path))
        place = Path(tempfile.mkdtemp(dir=scratch))
        stack.callback(remove_tree, place)
        return View(place, way).add_all(operations)
    except OSError as error:
        raise SandboxError("the sandbox cannot be prepared", str(error)) from error


def with_whole_root(operations: Iterable[Operation], root: str) -> tuple[Operation, ...]:
    """Return operations for a root whose top is not bound piece by piece, if it was."""
    others = [operation for operation in operations if not _is_in_top(operation, root)]
    if MountBind("/", root, writable=False, is_directory=True) in others:
        return tuple(others)
    return (MountBind("/", root, writable=False, is_directory=True), *others)


def _is_in_top(operation: Operation, root: str) -> bool:
    """Say whether it only shows what is directly in the root where that has it."""
    if posixpath.dirname(operation.path) != "/":
        return False
    if isinstance(operation, MountBind):
        return operation.source == root + operation.path
    return isinstance(operation, MakeSymlink)


class View:
    """What an engine is told."""

    def __init__(self, place: Path, way: Way) -> None:
        """`place` is an empty directory. Raises SandboxError if no engine can be told of it."""
        self._way = way
        if not is_plain(str(place)):
            raise SandboxError(
                f"the path of the scratch directory {place} has characters with a meaning",
                "name another with --udss-scratch",
            )
        self.place = place
        """Whatever else of a step is to be gone with it can be there, too."""
        self._number = 0
        self._top = place / "root"
        self._top.mkdir()
        # With podman it is not the step's own: who owns it is shifted by the layer on top of it.
        self._top.chmod(0o755)
        self.root = str(self._top)
        """The directory that is the root filesystem."""
        self.binds: list[MountBind] = []
        """In the order in which they are to be mounted."""
        self._made: dict[str, Path | None] = {"/": self._top}
        """Where what is mounted at a path was made; None for what is the host's or an engine's."""

    def add_all(self, operations: Iterable[Operation]) -> View:
        """Make what is needed for operations."""
        for operation in operations:
            self._add(operation)
        for path in self._way.own_files:
            if path not in self._made:
                self._make_mount_point(path, is_directory=False)
        return self

    def hide(self, path: str) -> None:
        """Show an empty directory in the place of one of the image."""
        if path not in self._made:
            self._bind(self._new_directory(), path, is_directory=True)

    def named(self, source: str) -> str:
        """Return a name of what is there in which no character has a meaning."""
        if is_plain(source):
            return source
        link = self._new()
        link.symlink_to(source)
        return str(link)

    def _add(self, operation: Operation) -> None:
        match operation:
            case MountBind("/", source):
                self.root = source
                self._made["/"] = None
            case MountBind(path, source, writable, is_directory):
                self._make_mount_point(path, is_directory=is_directory)
                self._made[path] = None
                if not os.path.lexists(source):
                    raise SandboxError(
                        f"{source} is not there any more", "was it removed while this ran?"
                    )
                self._bind(source, path, writable=writable, is_directory=is_directory)
            case MountTmpfs(path):
                made = self._make_mount_point(path, is_directory=True)
                if made is None:
                    made = self._new_directory()
                    self._bind(made, path, is_directory=True)
                self._made[path] = made
            case MountFile(path, content):
                made = self._make_mount_point(path, is_directory=False)
                if made is None:
                    made = self._new()
                    self._bind(made, path, is_directory=False)
                made.write_bytes(content)
                self._made[path] = None
            case MakeSymlink(path, target):
                made = self._place_of(path)
                assert made is not None  # links are only made again in what is made
                made.symlink_to(target)
            case MountSpecial(path):
                self._make_mount_point(path, is_directory=True)
                self._made[path] = None

    def _bind(
        self, source: str | Path, path: str, *, is_directory: bool, writable: bool = False
    ) -> None:
        if not self._way.can_be_told(path):
            path = self._link(path, is_directory=is_directory)
        self.binds.append(MountBind(path, self.named(str(source)), writable, is_directory))

    def _link(self, path: str, *, is_directory: bool) -> str:
        """Have a link beside it lead from a path of which the engine cannot be told to one that it
        can; return that."""
        made = self._place_of(path)
        if made is None or not self._way.can_be_told(posixpath.dirname(path)):
            raise SandboxError(
                f"this container engine can show nothing at {path!r}, because of its name",
                "rename it, or choose another runtime",
            )
        self._number += 1
        name = f".cwl-udss-{self._number}"
        made.rmdir() if is_directory else made.unlink()
        made.symlink_to(name)
        path = posixpath.join(posixpath.dirname(path), name)
        self._make_mount_point(path, is_directory=is_directory)
        return path

    def _make_mount_point(self, path: str, *, is_directory: bool) -> Path | None:
        """Make it, and return where, if that is in what is made."""
        made = self._place_of(path)
        if made is not None and is_directory:
            made.mkdir(exist_ok=True)
        elif made is not None:
            made.touch()
        return made

    def _place_of(self, path: str) -> Path | None:
        """Where what is at a path is to be made; None if it is there already."""
        above = posixpath.dirname(path)
        while above not in self._made:
            above = posixpath.dirname(above)
        holder = self._made[above]
        if holder is None:
            return None
        place = holder / path[len(above) :].lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _new_directory(self) -> Path:
        made = self._new()
        made.mkdir()
        return made

    def _new(self) -> Path:
        self._number += 1
        return self.place / str(self._number)
