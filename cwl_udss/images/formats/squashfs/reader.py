# SPDX-License-Identifier: Apache-2.0
"""Reads a SquashFS file as a tree, so that a sink can write it in another format.

It reads what squashfs-tools and others make, and trusts nothing of it: it may come from anywhere,
and disks forget. Names are bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from cwl_udss.images.formats.squashfs.contents import StoredFile, read_contents
from cwl_udss.images.formats.squashfs.format import LARGEST_TREE, Position
from cwl_udss.images.formats.squashfs.parsing.blocks import OPAQUE, Image
from cwl_udss.images.formats.squashfs.parsing.damage import Malformed, explained
from cwl_udss.images.formats.squashfs.parsing.inodes import (
    DirectoryInode,
    FileInode,
    LinkInode,
    read_inode,
    read_listing,
)
from cwl_udss.images.layers.members import Extent
from cwl_udss.images.layers.tar import Limits
from cwl_udss.images.trees.merge import kept_attributes
from cwl_udss.images.trees.modes import directory_mode, file_mode
from cwl_udss.images.trees.tree import (
    Directory,
    Node,
    RegularFile,
    SymbolicLink,
    Tree,
    notes_of,
)

# No honest image has more, but one that is meant to harm can have them in few bytes.
_MOST_NAMES = Limits.entries
_MOST_BLOCKS = 1 << 25


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is in a SquashFS file."""

    tree: Tree
    files: list[StoredFile]
    """In the order in which their contents are to be read."""
    hidden: list[tuple[Directory, bytes]]
    """What the names in the directories are of that overlayfs takes for whiteouts."""
    opaque: set[Directory]
    """Those that hide what a lower layer has there."""


def read_squashfs(
    path: Path, offset: int = 0
) -> tuple[Tree, Iterator[tuple[RegularFile, Iterator[bytes]]]]:
    """Return an image's tree, and its files with their contents, which are read then; `offset` is
    where in the file the image begins. Raises OSError, and InvalidImage if it is damaged, or no
    SquashFS file that is read.
    """
    found = read_tree(path, offset)
    return found.tree, read_contents(path, offset, found.files)


def read_tree(path: Path, offset: int, layer: int = 0) -> Found:
    """Return what is in an image, as the layer with a number. Raises as read_squashfs()."""
    with path.open("rb") as stream, explained(path):
        return _TreeReader(Image(stream, offset), layer).read()


class _TreeReader:
    """Goes through the directories of an image."""

    def __init__(self, image: Image, layer: int) -> None:
        self._image = image
        self._layer = layer
        self._files: list[StoredFile] = []
        self._nodes: dict[int, Node | None] = {}
        self._listings: list[tuple[Directory, DirectoryInode]] = []
        self._linked: set[Node] = set()
        self._hidden: list[tuple[Directory, bytes]] = []
        self._whiteouts: set[int] = set()
        self._opaque: set[Directory] = set()
        self._special_files = 0
        self._names = self._blocks = self._bytes = 0

    def read(self) -> Found:
        """Read all."""
        root = self._node(self._image.layout.root)
        if not isinstance(root, Directory):
            raise Malformed("its root is no directory")
        while self._listings:
            self._read_listing(*self._listings.pop())
        self._files.sort(key=lambda file: file.place)
        offset = 0
        for file in self._files:
            file.node.offset = offset
            offset += file.node.size
        return Found(
            tree=Tree(
                root=root, linked=frozenset(self._linked), notes=notes_of(self._special_files)
            ),
            files=self._files,
            hidden=self._hidden,
            opaque=self._opaque,
        )

    def _read_listing(self, directory: Directory, inode: DirectoryInode) -> None:
        for name, position in read_listing(self._image, inode):
            self._names += 1
            if name in directory.entries:
                raise Malformed(f"a directory has two files of one name: {name[:80]!r}")
            if self._names > _MOST_NAMES:
                raise Malformed("it has more files than any image")
            self._add(directory, name, position)

    def _add(self, directory: Directory, name: bytes, position: Position) -> None:
        is_known = position.reference in self._nodes
        node = self._nodes[position.reference] if is_known else self._node(position)
        if node is None:
            if position.reference in self._whiteouts:
                self._hidden.append((directory, name))
            self._special_files += 1
            return
        if is_known:
            if isinstance(node, Directory):  # in itself, perhaps
                raise Malformed("a directory has two names")
            self._linked.add(node)
        directory.entries[name] = node

    def _node(self, position: Position) -> Node | None:
        if len(self._nodes) >= self._image.layout.inodes:
            raise Malformed("it has more files than it says")
        inode = read_inode(self._image, position)
        node: Node | None = None
        if isinstance(inode, DirectoryInode):
            node = self._directory(inode)
        elif isinstance(inode, FileInode):
            node = self._file(inode)
        elif isinstance(inode, LinkInode):
            node = SymbolicLink(inode.target, inode.mtime)
        elif inode.is_whiteout:
            self._whiteouts.add(position.reference)
        self._nodes[position.reference] = node
        return node

    def _directory(self, inode: DirectoryInode) -> Directory:
        attributes = self._image.attributes(inode.attributes)
        node = Directory(directory_mode(inode.mode), inode.mtime, kept_attributes(attributes))
        if any(attributes.get(name) == b"y" for name in OPAQUE):
            self._opaque.add(node)
        self._listings.append((node, inode))
        return node

    def _file(self, inode: FileInode) -> RegularFile:
        self._bytes += inode.size
        self._blocks += len(inode.sizes)
        if self._bytes > LARGEST_TREE or self._blocks > _MOST_BLOCKS:
            raise Malformed("its files are larger than any disk")
        node = RegularFile(
            mode=file_mode(inode.mode),
            mtime=inode.mtime,
            size=inode.size,
            layer=self._layer,
            offset=0,
            extents=_extents(inode.sizes, inode.size, self._image.layout.block_bytes),
            attributes=kept_attributes(self._image.attributes(inode.attributes)),
        )
        if inode.size:
            self._files.append(StoredFile(node, inode))
        return node


def _extents(sizes: array[int], size: int, block_bytes: int) -> tuple[Extent, ...] | None:
    """The pieces of a file that has blocks that are not stored."""
    if all(sizes):
        return None
    extents = []
    end = 0
    for is_stored, group in groupby(sizes, bool):
        start, end = end, min(end + len(list(group)) * block_bytes, size)
        if is_stored:
            extents.append(Extent(start, end - start))
    if end < size:  # the rest, in a fragment block, is no hole
        extents.append(Extent(end, size - end))
    return tuple(extents)
