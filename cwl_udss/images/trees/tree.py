# SPDX-License-Identifier: Apache-2.0
"""A root filesystem in memory: what a sink writes. Hard links are one node under several names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    entries: dict[bytes, Node] = field(default_factory=dict)


Node = Directory | RegularFile | SymbolicLink


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
        pending: list[tuple[bytes, Node]] = [(b"", self.root)]
        while pending:
            path, node = pending.pop()
            if path:
                yield path, node
            if isinstance(node, Directory):
                prefix = path + b"/" if path else b""
                pending.extend(
                    (prefix + name, node.entries[name])
                    for name in sorted(node.entries, reverse=True)
                )
