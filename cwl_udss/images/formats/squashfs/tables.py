# SPDX-License-Identifier: Apache-2.0
"""The tables of a SquashFS image: inodes, directories and extended attributes of a tree."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from cwl_udss.images.formats.squashfs.format import (
    DIRECTORY,
    FILE,
    LATEST_TIME,
    NO_BLOCKS,
    NONE,
    SYMBOLIC_LINK,
    Blocks,
    Entry,
    IndexEntry,
    Inode,
    Listing,
    Position,
    directory_inode,
    directory_runs,
    file_inode,
    pack_run,
    symbolic_link_inode,
)
from cwl_udss.images.formats.squashfs.metadata import AttributeTable, Compress, Metadata
from cwl_udss.images.trees.contents import clamped_time
from cwl_udss.images.trees.tree import Directory, Node, RegularFile, SymbolicLink, Tree


@dataclass(frozen=True, kw_only=True)
class Numbering:
    """The inodes of a tree, the root's first. What has one name only, as nearly all, is not noted
    here: its number follows from the order."""

    inodes: int
    names: int
    directories: Sequence[Directory]
    """Each before those that are in it; those of one directory follow each other."""
    numbers: Sequence[int]
    """Of directories."""
    firsts: Sequence[int]
    """Of the first inode that gets its number in a directory. The others follow it, by name, so
    that they fit in one run of the directory's listing."""
    subdirectories: Sequence[int]
    """How many directories are in each."""
    linked: Mapping[Node, int]
    """The numbers of those that may have several names."""
    links: Mapping[Node, int]
    """How many names these have."""

    def entries(self, index: int) -> Iterator[tuple[bytes, Node, int]]:
        """What is in a directory, by name, with its number."""
        following = self.firsts[index]
        for name, node in self.directories[index].by_name():
            number = self.linked.get(node, following)
            yield name, node, number
            if number == following:
                following += 1


def number_inodes(tree: Tree, found: Callable[[RegularFile], None] = lambda _: None) -> Numbering:
    """Number all inodes; `found` is given each name's file that has content."""
    last, names = 1, 0
    directories = [tree.root]
    numbers, firsts, subdirectories = array("I", [last]), array("I"), array("I")
    linked: dict[Node, int] = {}
    links: dict[Node, int] = {}
    for directory in directories:  # which grows
        firsts.append(last + 1)
        known = len(directories)
        for _, node in directory.by_name():
            names += 1
            if isinstance(node, RegularFile) and node.size:
                found(node)
            if node in tree.linked:
                links[node] = links.get(node, 0) + 1
                if node in linked:
                    continue
                linked[node] = last + 1
            last += 1
            if isinstance(node, Directory):
                directories.append(node)
                numbers.append(last)
        subdirectories.append(len(directories) - known)
    return Numbering(
        inodes=last,
        names=names,
        directories=directories,
        numbers=numbers,
        firsts=firsts,
        subdirectories=subdirectories,
        linked=linked,
        links=links,
    )


class TreeTables:
    """The inode table, the directory table and the attributes of a whole tree."""

    def __init__(
        self,
        numbering: Numbering,
        blocks: Callable[[RegularFile], Blocks],
        compress: Compress,
        inodes: BinaryIO,
        directories: BinaryIO,
    ) -> None:
        """`blocks` gives those of a file with content. The two tables are written where these files
        are."""
        self._inodes = Metadata(compress, inodes)
        self._directories = Metadata(compress, directories)
        self.attributes = AttributeTable(compress)
        self._numbering = numbering
        self._blocks = blocks
        self._listings = _Listings(len(numbering.directories))
        self._positions: dict[Node, Position] = {}  # of inodes that have more than one name
        # An inode has the position of its listing, which has those of the inodes in it: from the
        # leaves to the root.
        child = len(numbering.directories)
        for index in range(len(numbering.directories) - 1, -1, -1):
            child -= numbering.subdirectories[index]
            self._listings[index] = self._list(self._entries(index, child))
        # As mksquashfs: the root's parent is one that is not there.
        self.root = self._inodes.add(self._directory_inode(0, numbering.inodes + 1))
        self._inodes.finish()
        self._directories.finish()

    def _entries(self, index: int, child: int) -> Iterator[Entry]:
        """The entries of a directory, whose inodes are added; `child` is its first directory's
        index."""
        parent = self._numbering.numbers[index]
        for name, node, number in self._numbering.entries(index):
            if isinstance(node, Directory):
                position = self._inodes.add(self._directory_inode(child, parent))
                child += 1
                yield Entry(name, DIRECTORY, number, position)
            else:
                kind = FILE if isinstance(node, RegularFile) else SYMBOLIC_LINK
                yield Entry(name, kind, number, self._position(node, number))

    def _position(self, node: RegularFile | SymbolicLink, number: int) -> Position:
        position = self._positions.get(node)
        if position is None:
            position = self._inodes.add(self._inode(node, number))
            if node in self._numbering.linked:
                self._positions[node] = position
        return position

    def _inode(self, node: RegularFile | SymbolicLink, number: int) -> bytes:
        links = self._numbering.links.get(node, 1)
        mtime = int(clamped_time(node.mtime, LATEST_TIME))
        if isinstance(node, SymbolicLink):
            return symbolic_link_inode(Inode(number, 0o777, mtime, links), node.target)
        attributes = self.attributes.add(node.attributes) if node.attributes else NONE
        inode = Inode(number, readable_by_all(node.mode), mtime, links, attributes)
        return file_inode(inode, node.size, self._blocks(node) if node.size else NO_BLOCKS)

    def _directory_inode(self, index: int, parent: int) -> bytes:
        node = self._numbering.directories[index]
        inode = Inode(
            number=self._numbering.numbers[index],
            mode=readable_by_all(node.mode),
            mtime=int(clamped_time(node.mtime, LATEST_TIME)),
            # Its name, its own ".", and the ".." of each directory in it.
            links=2 + self._numbering.subdirectories[index],
            attributes=self.attributes.add(node.attributes) if node.attributes else NONE,
        )
        return directory_inode(inode, self._listings[index], parent)

    def _list(self, entries: Iterator[Entry]) -> Listing:
        position = self._directories.position
        block = position.block
        places = []
        size = 0
        for run in directory_runs(entries, position.offset):
            packed = pack_run(run)
            start = self._directories.add(packed)
            if start.block != block:
                places.append(IndexEntry(size, start.block, run[0].name))
                block = start.block
            size += len(packed)
        return Listing(position, size, places)


class _Listings:
    """Where the listings of directories are, in few bytes each."""

    def __init__(self, count: int) -> None:
        self._blocks = array("Q", bytes(8 * count))
        self._offsets = array("H", bytes(2 * count))
        self._sizes = array("Q", bytes(8 * count))
        self._places: dict[int, Sequence[IndexEntry]] = {}

    def __setitem__(self, index: int, listing: Listing) -> None:
        self._blocks[index], self._offsets[index] = listing.position
        self._sizes[index] = listing.size
        if listing.places:
            self._places[index] = listing.places

    def __getitem__(self, index: int) -> Listing:
        position = Position(self._blocks[index], self._offsets[index])
        return Listing(position, self._sizes[index], self._places.get(index, ()))


def readable_by_all(mode: int) -> int:
    """Permissions that let everybody read and search or execute what the owner may.

    Everything in the image is root's, and who mounts it is not root.
    """
    allowed = mode & 0o500
    return mode | allowed >> 3 | allowed >> 6
