# SPDX-License-Identifier: Apache-2.0
"""Files that are put into the tree of an image. Nothing is resolved on the host, and nowhere else
than where it is said: a link on the way is left alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from cwl_udss.images.trees.tree import Directory, Node, RegularFile, SymbolicLink, Tree


@dataclass(frozen=True, kw_only=True)
class AddedFile:
    """A file that is put into a root filesystem."""

    mode: int
    content: bytes
    replaces: bool = False
    """Also where there is one."""


@dataclass(frozen=True, kw_only=True)
class Additions:
    """What is put into a root filesystem, by its path; links and directories where there is
    nothing."""

    files: Mapping[str, AddedFile]
    links: Mapping[str, str] = field(default_factory=dict)
    directories: Collection[str] = ()


def add_to(tree: Tree, additions: Additions, layer: int) -> list[tuple[RegularFile, bytes]]:
    """Put additions into a tree, as of a layer of their own. Returns the files that were put there,
    with their contents."""
    added = []
    offset = 0
    for path, file in additions.files.items():
        parent, name = _parent(tree, path)
        if parent is None or (name in parent.entries and not file.replaces):
            continue
        size = len(file.content)
        node = RegularFile(
            *(file.mode, 0, size), layer=layer, offset=offset, extents=None, attributes={}
        )
        offset += size
        parent.entries[name] = node
        added.append((node, file.content))
    links = {path: SymbolicLink(target.encode(), 0) for path, target in additions.links.items()}
    others: dict[str, Node] = {**links, **{path: Directory() for path in additions.directories}}
    for path, other in others.items():
        parent, name = _parent(tree, path)
        if parent is not None:
            parent.entries.setdefault(name, other)
    return added


def _parent(tree: Tree, path: str) -> tuple[Directory | None, bytes]:
    """The directory that a path is in, made if need be, and the last name; None if something else
    is on the way."""
    *directories, name = path.encode().split(b"/")
    parent = tree.root
    for directory in directories:
        found = parent.entries.setdefault(directory, Directory())
        if not isinstance(found, Directory):
            return None, name
        parent = found
    return parent, name
