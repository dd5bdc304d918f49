# SPDX-License-Identifier: Apache-2.0
"""The tables of a SquashFS image: inodes, directories and extended attributes of a tree."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cwl_udss.images.formats.squashfs.format import (
    DIRECTORY,
    FILE,
    LATEST_TIME,
    METADATA_BYTES,
    NO_BLOCKS,
    NONE,
    SYMBOLIC_LINK,
    Blocks,
    Entry,
    IndexEntry,
    Inode,
    Listing,
    Position,
    attribute_entry,
    directory_inode,
    directory_runs,
    file_inode,
    metadata_block,
    pack_attributes,
    pack_run,
    storable_attributes,
    symbolic_link_inode,
)
from cwl_udss.images.trees.contents import clamped_time
from cwl_udss.images.trees.tree import Directory, Node, RegularFile, SymbolicLink, Tree

Compress = Callable[[bytes], bytes]


class Metadata:
    """A table in the making: a stream of records, in compressed blocks."""

    def __init__(self, compress: Compress) -> None:
        self._compress = compress
        self._rest = bytearray()
        self._packed = bytearray()
        self._block_starts: list[int] = []

    @property
    def position(self) -> Position:
        """Where the next record will be."""
        return Position(len(self._packed), len(self._rest))

    def add(self, record: bytes) -> Position:
        """Add a record. Returns where it is."""
        position = self.position
        self._rest += record
        while len(self._rest) >= METADATA_BYTES:
            self._pack(bytes(self._rest[:METADATA_BYTES]))
            del self._rest[:METADATA_BYTES]
        return position

    def finish(self) -> bytes:
        """The whole table; nothing may be added after."""
        if self._rest:
            self._pack(bytes(self._rest))
            self._rest.clear()
        return bytes(self._packed)

    def block_positions(self, start: int) -> bytes:
        """Where the blocks are, for a reader that does not go through all of them; of a finished
        table, at `start` in the image."""
        return b"".join(struct.pack("<Q", start + block) for block in self._block_starts)

    def _pack(self, content: bytes) -> None:
        self._block_starts.append(len(self._packed))
        self._packed += metadata_block(content, self._compress(content))


class AttributeTable:
    """Sets of extended attributes, each distinct one stored once."""

    def __init__(self, compress: Compress) -> None:
        self.pairs = Metadata(compress)
        self.entries = Metadata(compress)
        self._numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, attributes: Mapping[str, bytes]) -> int:
        """The number of a set of attributes, or NONE if there is nothing to be stored."""
        storable = storable_attributes(attributes)
        if not storable:
            return NONE
        packed = pack_attributes(storable)
        if packed not in self._numbers:
            self._numbers[packed] = len(self._numbers)
            position = self.pairs.add(packed)
            self.entries.add(attribute_entry(position, len(storable), len(packed)))
        return self._numbers[packed]


class NumberedDirectory(NamedTuple):
    """A directory, and the numbers of inodes."""

    node: Directory
    number: int
    first: int
    """Of the first inode that gets its number here. The others follow it, by name, so that they fit
    in one run of the directory's listing."""


@dataclass(frozen=True, kw_only=True)
class Numbering:
    """The inodes of a tree, the root's first. What has one name only, as nearly all, is not noted
    here: its number follows from the order."""

    inodes: int
    directories: tuple[NumberedDirectory, ...]
    """Each before those that are in it."""
    linked: Mapping[Node, int]
    """The numbers of those that may have several names."""
    links: Mapping[Node, int]
    """How many names these have."""

    def entries(self, directory: NumberedDirectory) -> Iterator[tuple[bytes, Node, int]]:
        """What is in a directory, by name, with its number."""
        following = directory.first
        for name in sorted(directory.node.entries):
            node = directory.node.entries[name]
            number = self.linked.get(node, following)
            yield name, node, number
            if number == following:
                following += 1


def number_inodes(tree: Tree) -> Numbering:
    """Number all inodes."""
    last = 1
    found = [(tree.root, last)]
    directories = []
    linked: dict[Node, int] = {}
    links: dict[Node, int] = {}
    for directory, number in found:  # which grows
        directories.append(NumberedDirectory(directory, number, last + 1))
        for name in sorted(directory.entries):
            node = directory.entries[name]
            if node in tree.linked:
                links[node] = links.get(node, 0) + 1
                if node in linked:
                    continue
                linked[node] = last + 1
            last += 1
            if isinstance(node, Directory):
                found.append((node, last))
    return Numbering(inodes=last, directories=tuple(directories), linked=linked, links=links)


class TreeTables:
    """The inode table, the directory table and the attributes of a whole tree."""

    def __init__(
        self,
        numbering: Numbering,
        blocks: Callable[[RegularFile], Blocks],
        compress: Compress,
    ) -> None:
        """`blocks` gives those of a file with content."""
        self.inodes = Metadata(compress)
        self.directories = Metadata(compress)
        self.attributes = AttributeTable(compress)
        self._numbering = numbering
        self._blocks = blocks
        self._listings: dict[Directory, Listing] = {}
        self._positions: dict[Node, Position] = {}  # of inodes that have more than one name
        # An inode has the position of its listing, which has those of the inodes in it: from the
        # leaves to the root.
        for directory in reversed(numbering.directories):
            entries = [
                Entry(
                    name,
                    _KINDS[type(node)],
                    number,
                    self._position(node, number, directory.number),
                )
                for name, node, number in numbering.entries(directory)
            ]
            self._listings[directory.node] = self._list(entries)
        root = numbering.directories[0]
        # As mksquashfs: the root's parent is one that is not there.
        self.root = self.inodes.add(self._inode(root.node, root.number, numbering.inodes + 1))

    def _position(self, node: Node, number: int, parent: int) -> Position:
        position = self._positions.get(node)
        if position is None:
            position = self.inodes.add(self._inode(node, number, parent))
            if node in self._numbering.linked:
                self._positions[node] = position
        return position

    def _inode(self, node: Node, number: int, parent: int) -> bytes:
        links = self._numbering.links.get(node, 1)
        mtime = int(clamped_time(node.mtime, LATEST_TIME))
        if isinstance(node, SymbolicLink):
            inode = Inode(number=number, mode=0o777, mtime=mtime, links=links)
            return symbolic_link_inode(inode, node.target)
        mode = readable_by_all(node.mode)
        attributes = self.attributes.add(node.attributes) if node.attributes else NONE
        if isinstance(node, RegularFile):
            inode = Inode(number=number, mode=mode, mtime=mtime, links=links, attributes=attributes)
            blocks = self._blocks(node) if node.size else NO_BLOCKS
            return file_inode(inode, node.size, blocks)
        # Its name, its own ".", and the ".." of each directory in it.
        links = 2 + sum(1 for x in node.entries.values() if isinstance(x, Directory))
        inode = Inode(number=number, mode=mode, mtime=mtime, links=links, attributes=attributes)
        return directory_inode(inode, self._listings.pop(node), parent)

    def _list(self, entries: list[Entry]) -> Listing:
        position = self.directories.position
        block = position.block
        places = []
        size = 0
        for run in directory_runs(entries, position.offset):
            packed = pack_run(run)
            start = self.directories.add(packed)
            if start.block != block:
                places.append(IndexEntry(size, start.block, run[0].name))
                block = start.block
            size += len(packed)
        return Listing(position, size, places)


_KINDS = {Directory: DIRECTORY, RegularFile: FILE, SymbolicLink: SYMBOLIC_LINK}


def readable_by_all(mode: int) -> int:
    """Permissions that let everybody read and search or execute what the owner may.

    Everything in the image is root's, and who mounts it is not root.
    """
    allowed = mode & 0o500
    return mode | allowed >> 3 | allowed >> 6
