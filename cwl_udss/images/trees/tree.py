# SPDX-License-Identifier: Apache-2.0
"""A root filesystem: what a sink writes. Hard links are one node under several names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field

from cwl_udss.images.layers.members import Extent


@dataclass(slots=True, eq=False)
class RegularFile:
    """A file whose content is in a layer, from `offset` in its uncompressed bytes."""

    mode: int
    mtime: float
    size: int
    layer: int
    """LayerIndex.number"""
    offset: int
    extents: tuple[Extent, ...] | None
    attributes: Mapping[str, bytes]

    @property
    def place(self) -> tuple[int, int]:
        """Where its content is: layer and offset. Files without content may share one."""
        return self.layer, self.offset


@dataclass(slots=True, eq=False)
class SymbolicLink:
    """A symbolic link, with its text as it is in the layer."""

    target: bytes
    mtime: float


@dataclass(slots=True, eq=False)
class Directory:
    """A directory."""

    mode: int = 0o755
    mtime: float = 0
    attributes: Mapping[str, bytes] = field(default_factory=dict)
    entries: dict[bytes, Node] | Entries = field(default_factory=dict)

    def by_name(self) -> Iterator[tuple[bytes, Node]]:
        """What is in it, in the order of names."""
        entries = self.entries
        return iter(sorted(entries.items())) if isinstance(entries, dict) else entries.by_name()


Node = Directory | RegularFile | SymbolicLink


class Entries(MutableMapping[bytes, Node]):
    """What is in a directory, where that is kept elsewhere: there may be too many for memory.

    The same file may be another object each time it is asked for, unless it is one of
    `Tree.linked`; a directory is always the same.
    """

    @abstractmethod
    def by_name(self) -> Iterator[tuple[bytes, Node]]:
        """All in the order of names, which are not to be changed meanwhile."""


@dataclass(frozen=True)
class Tree:
    """An image's root filesystem."""

    root: Directory
    linked: frozenset[Node]
    """What may have several names; nothing else has."""
    notes: tuple[str, ...] = ()
    """What was left out, for the log."""

    def walk(self) -> Iterator[tuple[bytes, Node]]:
        """All paths (relative, without the root) by name, a directory before what is in it."""
        pending = [(b"", self.root.by_name())]
        while pending:
            prefix, entries = pending[-1]
            for name, node in entries:
                path = prefix + name
                yield path, node
                if isinstance(node, Directory):
                    pending.append((path + b"/", node.by_name()))
                    break
            else:
                pending.pop()


def notes_of(special_files: int) -> tuple[str, ...]:
    """Return what is to be said of a tree from which so many special files were left out."""
    if not special_files:
        return ()
    return (f"{special_files} device nodes, pipes and other special files left out",)
