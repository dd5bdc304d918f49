# SPDX-License-Identifier: Apache-2.0
"""Reads a SquashFS file as a layer: one that is put over others, as overlayfs does it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from cwl_udss.images.formats.squashfs.contents import read_contents
from cwl_udss.images.formats.squashfs.reader import Found, read_tree
from cwl_udss.images.layers.members import Kind, LayerIndex, Member
from cwl_udss.images.trees.tree import Directory, Node, RegularFile, SymbolicLink

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"


def read_layer(
    path: Path, offset: int, number: int, digest: str
) -> tuple[LayerIndex, Iterator[tuple[RegularFile, Iterator[bytes]]]]:
    """Return what is in a layer, with its number and its digest, and its files with their contents,
    which are read then. Raises OSError, and InvalidImage as reader.read_squashfs() does."""
    found = read_tree(path, offset, number)
    index = LayerIndex(
        diff_id=digest, members=list(_members(found)), number=number, is_followed=False
    )
    return index, read_contents(path, offset, found.files)


def _members(found: Found) -> Iterator[Member]:
    """As a tar would have them, whiteouts too."""
    hidden: defaultdict[Directory, list[bytes]] = defaultdict(list)
    for directory, name in found.hidden:
        hidden[directory].append(name)
    first: dict[Node, bytes] = {}
    for path, node in [(b"", found.tree.root), *found.tree.walk()]:
        if node in first:
            yield _member(path, Kind.HARD_LINK, link=first[node])
            continue
        if node in found.tree.linked:
            first[node] = path
        yield _made(path, node)
        if isinstance(node, Directory):
            names = [_WHITEOUT + name for name in hidden[node]]
            if node in found.opaque:
                names.append(_OPAQUE)
            for name in names:
                yield _member(b"/".join(filter(None, (path, name))), Kind.FILE)


def _made(path: bytes, node: Node) -> Member:
    member = _member(path, Kind.FILE)._replace(mtime=node.mtime)
    if isinstance(node, SymbolicLink):
        return member._replace(kind=Kind.SYMBOLIC_LINK, link=node.target)
    member = member._replace(mode=node.mode, attributes=node.attributes)
    if isinstance(node, Directory):
        return member._replace(kind=Kind.DIRECTORY)
    return member._replace(size=node.size, offset=node.offset, extents=node.extents)


def _member(path: bytes, kind: Kind, link: bytes = b"") -> Member:
    return Member(
        path=path,
        kind=kind,
        mode=0,
        mtime=0,
        size=0,
        offset=0,
        link=link,
        extents=None,
        attributes={},
    )
