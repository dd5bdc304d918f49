# SPDX-License-Identifier: Apache-2.0
"""The beginning of a SquashFS file that anybody may have made: what it says, once it is checked."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.images.formats.squashfs.format import (
    ABSENT_TABLE,
    MAGIC,
    SUPERBLOCK_BYTES,
    Position,
)
from cwl_udss.images.formats.squashfs.parsing.damage import Malformed, NotRead, explained
from cwl_udss.images.formats.squashfs.parsing.decompression import check_compression

_BIG_ENDIAN = b"sqsh"
_SMALLEST_LOG, _LARGEST_LOG = 12, 20
_AGAIN = "make it again: mksquashfs DIRECTORY FILE"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where what is, in bytes from the superblock's beginning."""

    inodes: int
    block_bytes: int
    fragments: int
    compressor: int
    root: Position
    size: int
    """Of all, without what it was padded with."""
    inode_table: int
    directory_table: int
    directory_end: int
    """What comes after the directory table, at the latest."""
    fragment_table: int
    attribute_table: int
    """Where it is, or ABSENT_TABLE."""


def check_superblock(path: Path, name: str, offset: int, size: int) -> None:
    """Raise InvalidImage if what is in a part of a file is no SquashFS file that can be mounted or
    read, or not all of one; and OSError. `name` is for messages."""
    with path.open("rb") as stream, explained(name):
        stream.seek(offset)
        layout = parse_superblock(stream.read(min(SUPERBLOCK_BYTES, size)), size)
        check_compression(layout.compressor)


def parse_superblock(content: bytes, available: int) -> Layout:
    """Return what a superblock says, of a file that has so many bytes from there on. Raises
    Malformed and NotRead."""
    if content.startswith(_BIG_ENDIAN):
        raise NotRead("a SquashFS file for big-endian machines, of before 2009", _AGAIN)
    if len(content) < SUPERBLOCK_BYTES:
        raise Malformed("it is too short")
    (magic, inodes, _, block_bytes, fragments, compressor, log, _, _, major, minor, *places) = (
        struct.unpack("<5I6H8Q", content)
    )
    root, size, ids, attributes, inode_table, directories, fragment_table, exported = places
    if magic != MAGIC:
        raise Malformed("it does not begin as one")
    if (major, minor) != (4, 0):
        raise NotRead(f"a SquashFS file of version {major}.{minor}, and 4.0 is read", _AGAIN)
    if not _SMALLEST_LOG <= log <= _LARGEST_LOG or block_bytes != 1 << log:
        raise Malformed("its blocks have no size that they may have")
    if size > available:
        raise Malformed(f"it has {available} bytes of {size}")
    # In this order, which the kernel insists on, too; what is absent is beyond all.
    after = [
        place for place in (fragment_table, exported, ids, attributes) if place != ABSENT_TABLE
    ]
    end = min(after, default=size)
    if not SUPERBLOCK_BYTES <= inode_table < directories <= end <= size:
        raise Malformed("its tables are where they cannot be")
    return Layout(
        inodes=inodes,
        block_bytes=block_bytes,
        fragments=fragments,
        compressor=compressor,
        root=Position.of(root),
        size=size,
        inode_table=inode_table,
        directory_table=directories,
        directory_end=end,
        fragment_table=fragment_table,
        attribute_table=attributes,
    )
