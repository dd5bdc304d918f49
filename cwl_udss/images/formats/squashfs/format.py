# SPDX-License-Identifier: Apache-2.0
"""The structures of SquashFS 4.0 as bytes, and how a directory's listing is split into runs.

Linux's fs/squashfs/squashfs_fs.h names the fields, https://dr-emann.github.io/squashfs/ explains
them. All numbers are little-endian. "Extended" inodes are the kernel's "long" ones.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

METADATA_BYTES = 8192
SUPERBLOCK_BYTES = 96
ABSENT_TABLE = (1 << 64) - 1
NONE = (1 << 32) - 1
"""In an inode: no fragment, no extended attributes."""
STORED_AS_IT_IS = 1 << 24
"""Flag in the size of a data block that compression would not have made smaller."""
LATEST_TIME = (1 << 32) - 1
LARGEST_TREE = 1 << 40
"""Bytes of all files. A file's list of blocks is as long for holes as for data: no honest image has
so many."""

DIRECTORY, FILE, SYMBOLIC_LINK = 1, 2, 3
EXTENDED = 7
"""From a basic type of inode to its extended one."""

MAGIC = 0x73717368
METADATA_AS_IT_IS = 1 << 15
"""Flag in the header of a metadata block that compression would not have made smaller."""
_FLAG_COMPRESSOR_OPTIONS = 1 << 10
_FLAG_NO_ATTRIBUTES = 1 << 9
_RUN_ENTRIES = 256  # SQUASHFS_DIR_COUNT: the kernel refuses more
_LARGEST_U16 = (1 << 16) - 1
_LARGEST_U32 = (1 << 32) - 1
DOTS_BYTES = 3
"""The kernel counts "." and "..", which are not stored, as this many bytes of a listing."""

_ATTRIBUTE_PREFIX = "user."  # type 0 in the format; the tree has no others
# xattr(7), and XATTR_SIZE_MAX in Linux's include/uapi/linux/limits.h
_LONGEST_ATTRIBUTE_NAME = 255
_LARGEST_ATTRIBUTE = 1 << 16


class Position(NamedTuple):
    """A place in a table: where its metadata block begins, in compressed bytes from the table's
    beginning, and the offset in the uncompressed block."""

    block: int
    offset: int

    @classmethod
    def of(cls, reference: int) -> Position:
        """The place that a reference names."""
        return cls(reference >> 16, reference & 0xFFFF)

    @property
    def reference(self) -> int:
        """The form that has both in one number."""
        return self.block << 16 | self.offset


@dataclass(frozen=True, kw_only=True)
class Superblock:
    """The beginning of the image. Positions are in bytes of the file."""

    inodes: int
    block_log: int
    fragments: int
    compressor: int
    root: Position
    bytes_used: int
    id_table: int
    attribute_table: int
    inode_table: int
    directory_table: int
    fragment_table: int

    def pack(self) -> bytes:
        """The superblock, of an image that says which compression level it has."""
        flags = _FLAG_COMPRESSOR_OPTIONS
        if self.attribute_table == ABSENT_TABLE:
            flags |= _FLAG_NO_ATTRIBUTES
        return struct.pack(
            "<5I6H8Q",
            MAGIC,
            self.inodes,
            0,  # the time of making, which would make each image another
            1 << self.block_log,
            self.fragments,
            self.compressor,
            self.block_log,
            flags,
            1,  # user and group ids
            4,
            0,  # version
            self.root.reference,
            self.bytes_used,
            self.id_table,
            self.attribute_table,
            self.inode_table,
            self.directory_table,
            self.fragment_table,
            ABSENT_TABLE,  # of inodes by number: only a file system exported over NFS needs it
        )


def metadata_block(content: bytes, compressed: bytes) -> bytes:
    """A metadata block with its header, compressed if that makes it smaller."""
    if len(compressed) < len(content):
        return struct.pack("<H", len(compressed)) + compressed
    return struct.pack("<H", len(content) | METADATA_AS_IT_IS) + content


class Inode(NamedTuple):
    """What inodes of all types have. Their user and group are the first of the table of ids.

    A tuple, because an image has many thousands.
    """

    number: int
    mode: int
    """Permissions only."""
    mtime: int
    links: int
    attributes: int = NONE
    """Index in the table of extended attributes."""

    def header(self, kind: int) -> bytes:
        """The fields that come first."""
        return struct.pack("<4H2I", kind, self.mode, 0, 0, self.mtime, self.number)


class Blocks(NamedTuple):
    """Where a file's content is."""

    start: int
    """Of the first block in the image; the others follow."""
    sizes: Sequence[int]
    """Of each block in the image, with its flag; 0 for one of zeros only, which is not stored."""
    fragment: int
    """Index of the fragment block with the rest, or NONE."""
    fragment_offset: int
    hole_bytes: int
    """What the blocks that are not stored would have held."""


NO_BLOCKS = Blocks(start=0, sizes=(), fragment=NONE, fragment_offset=0, hole_bytes=0)
"""Those of an empty file."""


def file_inode(inode: Inode, size: int, blocks: Blocks) -> bytes:
    """A regular file's inode: the extended one if the basic one cannot say everything."""
    sizes = struct.pack(f"<{len(blocks.sizes)}I", *blocks.sizes) if blocks.sizes else b""
    tail = (blocks.fragment, blocks.fragment_offset)
    basic = inode.links == 1 and inode.attributes == NONE and not blocks.hole_bytes
    if basic and max(size, blocks.start) <= _LARGEST_U32:
        return inode.header(FILE) + struct.pack("<4I", blocks.start, *tail, size) + sizes
    fields = (blocks.start, size, blocks.hole_bytes, inode.links, *tail, inode.attributes)
    return inode.header(FILE + EXTENDED) + struct.pack("<3Q4I", *fields) + sizes


def symbolic_link_inode(inode: Inode, target: bytes) -> bytes:
    """A symbolic link's inode."""
    return inode.header(SYMBOLIC_LINK) + struct.pack("<2I", inode.links, len(target)) + target


class IndexEntry(NamedTuple):
    """A place in a long listing where a search can begin."""

    offset: int
    """Of a run, in bytes from the listing's beginning."""
    block: int
    """The metadata block in which the run begins."""
    name: bytes
    """Of the run's first entry."""


class Listing(NamedTuple):
    """Where a directory's listing is in the directory table."""

    position: Position
    size: int
    places: Sequence[IndexEntry]
    """Of a long one: one in each of its metadata blocks but the first."""


def directory_inode(inode: Inode, listing: Listing, parent: int) -> bytes:
    """A directory's inode: the extended one if the basic one cannot say everything."""
    block, offset = listing.position
    size = listing.size + DOTS_BYTES
    # Without such places, it is too short to be too large for 16 bits.
    if inode.attributes == NONE and not listing.places:
        fields = struct.pack("<2I2HI", block, inode.links, size, offset, parent)
        return inode.header(DIRECTORY) + fields
    places = listing.places[:_LARGEST_U16]  # without the rest, a search only takes longer
    fields = struct.pack(
        "<4I2HI", inode.links, size, block, parent, len(places), offset, inode.attributes
    )
    return b"".join([inode.header(DIRECTORY + EXTENDED), fields, *map(_pack_index, places)])


def _pack_index(entry: IndexEntry) -> bytes:
    return struct.pack("<3I", entry.offset, entry.block, len(entry.name) - 1) + entry.name


class Entry(NamedTuple):
    """A name in a directory, and its inode."""

    name: bytes
    kind: int
    """Of the inode: always the basic type."""
    number: int
    position: Position


def directory_runs(entries: Iterable[Entry], offset: int) -> Iterator[list[Entry]]:
    """Split a listing, sorted by name, into the runs that have a header each.

    A run's inodes are in one metadata block and their numbers near each other. It also ends with
    the metadata block that it is in itself, so that there is a run to begin a search with in each:
    `offset` says where in a block the listing begins.
    """
    run: list[Entry] = []
    for entry in entries:
        if run and (
            len(run) == _RUN_ENTRIES
            or entry.position.block != run[0].position.block
            or not -(1 << 15) <= entry.number - run[0].number < 1 << 15
            or offset >= METADATA_BYTES
        ):
            yield run
            run = []
            offset %= METADATA_BYTES
        offset += _entry_bytes(entry) + (0 if run else _RUN_HEADER.size)
        run.append(entry)
    if run:
        yield run


_RUN_HEADER = struct.Struct("<3I")
_ENTRY = struct.Struct("<HhHH")


def _entry_bytes(entry: Entry) -> int:
    return _ENTRY.size + len(entry.name)


def pack_run(run: Sequence[Entry]) -> bytes:
    """A run with its header."""
    first = run[0]
    parts = [_RUN_HEADER.pack(len(run) - 1, first.position.block, first.number)]
    for name, kind, number, position in run:
        parts += _ENTRY.pack(position.offset, number - first.number, kind, len(name) - 1), name
    return b"".join(parts)


def fragment_entry(start: int, size: int) -> bytes:
    """An entry of the table of fragment blocks."""
    return struct.pack("<Q2I", start, size, 0)


def storable_attributes(attributes: Mapping[str, bytes]) -> dict[bytes, bytes]:
    """The extended attributes that Linux could have, by what comes after "user." in their names.

    The directory sink leaves out the others too, as the file system refuses them.
    """
    storable = {}
    for name, value in attributes.items():
        encoded = name.encode("utf-8", "surrogateescape")
        key = encoded.removeprefix(_ATTRIBUTE_PREFIX.encode())
        possible = key != encoded and key and b"\0" not in key
        if (
            possible
            and len(encoded) <= _LONGEST_ATTRIBUTE_NAME
            and len(value) <= _LARGEST_ATTRIBUTE
        ):
            storable[key] = value
    return storable


def pack_attributes(attributes: Mapping[bytes, bytes]) -> bytes:
    """Names and values, for the table of extended attributes."""
    return b"".join(
        struct.pack("<2H", 0, len(name)) + name + struct.pack("<I", len(value)) + value
        for name, value in attributes.items()
    )


def attribute_entry(position: Position, count: int, size: int) -> bytes:
    """An entry of the table by which inodes find their extended attributes."""
    return struct.pack("<Q2I", position.reference, count, size)


def attribute_table_header(pairs_start: int, count: int) -> bytes:
    """What comes before the positions of that table's blocks."""
    return struct.pack("<Q2I", pairs_start, count, 0)
