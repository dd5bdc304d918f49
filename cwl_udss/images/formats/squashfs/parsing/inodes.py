# SPDX-License-Identifier: Apache-2.0
"""Inodes and listings of a SquashFS file, as they are in it."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from cwl_udss.images.formats.squashfs.format import (
    DIRECTORY,
    DOTS_BYTES,
    EXTENDED,
    FILE,
    NONE,
    SYMBOLIC_LINK,
    Position,
)
from cwl_udss.images.formats.squashfs.parsing.blocks import Cursor, Image
from cwl_udss.images.formats.squashfs.parsing.damage import Malformed

_LONGEST_LINK = 4095
_LONGEST_NAME = 255
_MOST_ENTRIES = 256  # of a run: SQUASHFS_DIR_COUNT in Linux's squashfs_fs.h
_KINDS = 14
_CHARACTER_DEVICE = 5

_HEADER = struct.Struct("<4H2I")
_BASIC_DIRECTORY = struct.Struct("<2I2HI")
_EXTENDED_DIRECTORY = struct.Struct("<4I2HI")
_BASIC_FILE = struct.Struct("<4I")
_EXTENDED_FILE = struct.Struct("<3Q4I")
_LINK = struct.Struct("<2I")
_RUN = struct.Struct("<3I")
_ENTRY = struct.Struct("<HhHH")


class DirectoryInode(NamedTuple):
    """A directory, and where its listing is."""

    mode: int
    mtime: int
    position: Position
    size: int
    """Of the listing."""
    attributes: int


class FileInode(NamedTuple):
    """A regular file, and where its content is."""

    mode: int
    mtime: int
    size: int
    start: int
    """Of the first block; the others follow."""
    sizes: array[int]
    """Of the blocks, with their flags; 0 for one of zeros only, which is not stored."""
    fragment: int
    """The number of the fragment block that has the rest, or NONE."""
    fragment_offset: int
    attributes: int


class LinkInode(NamedTuple):
    """A symbolic link."""

    mtime: int
    target: bytes


class SpecialInode(NamedTuple):
    """A device, a pipe or a socket."""

    is_whiteout: bool
    """It is how overlayfs says that a name of a lower layer is not there."""


AnyInode = DirectoryInode | FileInode | LinkInode | SpecialInode


def read_inode(image: Image, position: Position) -> AnyInode:
    """Return the inode at a position. Raises what damage.explained() explains, and OSError."""
    cursor = image.inode(position)
    kind, mode, _, _, mtime, _ = cursor.unpack(_HEADER)
    if not 0 < kind <= _KINDS:
        raise Malformed("a file is of no kind that there is")
    is_basic = kind <= EXTENDED
    basic_kind = kind if is_basic else kind - EXTENDED
    if basic_kind == DIRECTORY:
        return _directory(cursor, mode, mtime, is_basic)
    if basic_kind == FILE:
        return _file(cursor, mode, mtime, is_basic, image.layout.block_bytes)
    if basic_kind == SYMBOLIC_LINK:
        _, length = cursor.unpack(_LINK)
        if not 0 < length <= _LONGEST_LINK:
            raise Malformed("a symbolic link is longer or shorter than it may be")
        target = cursor.read(length)
        if b"\0" in target:
            raise Malformed("a symbolic link leads to what can be no path")
        return LinkInode(mtime, target)
    if basic_kind == _CHARACTER_DEVICE:
        _, device = cursor.unpack(_LINK)
        return SpecialInode(is_whiteout=device == 0)
    return SpecialInode(is_whiteout=False)


def _directory(cursor: Cursor, mode: int, mtime: int, is_basic: bool) -> DirectoryInode:
    attributes = NONE
    if is_basic:
        block, _, size, offset, _ = cursor.unpack(_BASIC_DIRECTORY)
    else:
        _, size, block, _, _, offset, attributes = cursor.unpack(_EXTENDED_DIRECTORY)
    return DirectoryInode(
        mode, mtime, Position(block, offset), max(size - DOTS_BYTES, 0), attributes
    )


def _file(cursor: Cursor, mode: int, mtime: int, is_basic: bool, block_bytes: int) -> FileInode:
    attributes = NONE
    if is_basic:
        start, fragment, fragment_offset, size = cursor.unpack(_BASIC_FILE)
    else:
        start, size, _, _, fragment, fragment_offset, attributes = cursor.unpack(_EXTENDED_FILE)
    count = size // block_bytes if fragment != NONE else -(-size // block_bytes)
    sizes = array("I", cursor.read(count * 4))
    if sys.byteorder == "big":
        sizes.byteswap()
    return FileInode(mode, mtime, size, start, sizes, fragment, fragment_offset, attributes)


def read_listing(image: Image, directory: DirectoryInode) -> Iterator[tuple[bytes, Position]]:
    """Yield what is in a directory: names, each with where its inode is. Raises what
    damage.explained() explains, and OSError."""
    left = directory.size
    if not left:
        return  # nothing need be where it says
    cursor = image.listing(directory.position)
    while left > 0:
        count, block, _ = cursor.unpack(_RUN)
        left -= _RUN.size
        if count >= _MOST_ENTRIES:
            raise Malformed("a directory is longer than it says")
        for _ in range(count + 1):
            offset, _, _, length = cursor.unpack(_ENTRY)
            name = cursor.read(length + 1)
            left -= _ENTRY.size + len(name)
            # A sink takes names as they are.
            if b"/" in name or b"\0" in name or name in (b".", b"..") or len(name) > _LONGEST_NAME:
                raise Malformed(f"a file has a name that no file can have: {name[:80]!r}")
            yield name, Position(block, offset)
    if left:
        raise Malformed("a directory is longer than it says")
