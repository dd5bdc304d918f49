# SPDX-License-Identifier: Apache-2.0
"""Reads the blocks and tables of a SquashFS file, whose structures are in format.py.

Nothing of it is trusted: what is read, and what it becomes, is of bounded size. Of a table no more
is read than it holds, so that what refers to the same bytes again and again is no image.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

from cwl_udss.images.formats.squashfs.format import (
    ABSENT_TABLE,
    METADATA_AS_IT_IS,
    METADATA_BYTES,
    NONE,
    STORED_AS_IT_IS,
    SUPERBLOCK_BYTES,
    Position,
)
from cwl_udss.images.formats.squashfs.parsing.damage import Malformed
from cwl_udss.images.formats.squashfs.parsing.decompression import decompressor
from cwl_udss.images.formats.squashfs.parsing.superblock import parse_superblock

OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
"""overlayfs' attributes of a directory that hides what lower layers have there."""

_KEPT_BLOCKS = 512  # of metadata, uncompressed: 4 MiB
_PREFIXES = ("user.", "trusted.", "security.")
_ELSEWHERE = 1 << 8  # flag in the type of an attribute whose value is that of another
_LARGEST_VALUE = 1 << 16  # XATTR_SIZE_MAX in Linux's include/uapi/linux/limits.h
_LARGEST_ATTRIBUTES = 64 << 20  # of an image, all together
_LARGEST_READ = 1 << 20  # the format's largest block

_HEADER = struct.Struct("<H")
_RECORD = struct.Struct("<Q2I")
_PAIR = struct.Struct("<2H")
_LENGTH = struct.Struct("<I")
_REFERENCE = struct.Struct("<Q")


class Image:
    """The blocks and tables of an image. Its methods raise what damage.explained() explains, and
    OSError. Data blocks may be read in threads."""

    def __init__(self, stream: BinaryIO, offset: int = 0) -> None:
        """`offset` is where in the file the image begins."""
        self._descriptor = stream.fileno()
        self._offset = offset
        self.size = max(os.fstat(self._descriptor).st_size - offset, 0)
        beginning = self.bytes_at(0, min(SUPERBLOCK_BYTES, self.size))
        self.layout = layout = parse_superblock(beginning, self.size)
        self.size = layout.size
        self._decompress = decompressor(layout.compressor)
        self._inodes = _Table(self, layout.inode_table, layout.directory_table)
        self._directories = _Table(self, layout.directory_table, layout.directory_end)
        self._fragments = _IndexedTable(self, layout.fragment_table, layout.fragments)
        self._attributes = _Attributes(self, layout.attribute_table)

    def inode(self, position: Position) -> Cursor:
        """Return what reads from an inode on."""
        return Cursor(self._inodes, position)

    def listing(self, position: Position) -> Cursor:
        """Return what reads from a directory's listing on."""
        return Cursor(self._directories, position)

    def attributes(self, number: int) -> Mapping[str, bytes]:
        """Return a set of extended attributes: those that are `user.`, and OPAQUE."""
        return {} if number == NONE else self._attributes.get(number)

    def fragment_place(self, number: int) -> tuple[int, int]:
        """Return where a fragment block is, and its size with its flag."""
        start, size, _ = _RECORD.unpack(self._fragments[number])
        return start, size

    def block(self, start: int, size: int, longest: int) -> bytes:
        """Return a data block of at most so many bytes."""
        content = self.bytes_at(start, size & ~STORED_AS_IT_IS)
        if not size & STORED_AS_IT_IS:
            return self._decompress(content, longest)
        if len(content) > longest:
            raise Malformed("a block is longer than it may be")
        return content

    def metadata(self, start: int) -> tuple[bytes, int]:
        """Return a metadata block, and where the next begins."""
        (header,) = _HEADER.unpack(self.bytes_at(start, _HEADER.size))
        size = header & ~METADATA_AS_IT_IS
        if not 0 < size <= METADATA_BYTES:
            raise Malformed("a block is longer or shorter than it may be")
        content = self.bytes_at(start + _HEADER.size, size)
        if not header & METADATA_AS_IT_IS:
            content = self._decompress(content, METADATA_BYTES)
        return content, start + _HEADER.size + size

    def bytes_at(self, start: int, size: int) -> bytes:
        """Return bytes of the image."""
        if start + size > self.size or size > _LARGEST_READ:
            raise Malformed("it names what is beyond its end")
        content = os.pread(self._descriptor, size, self._offset + start)
        if len(content) != size:
            raise Malformed("it became shorter while it was read")
        return content


class _Table:
    """Metadata blocks that follow each other. The last that were read are remembered."""

    def __init__(self, image: Image, start: int, end: int, *, once: bool = True) -> None:
        """`once` says that all in it is read once: an inode, a listing, a set of attributes."""
        self._image = image
        self.start = start
        self._end = end
        self._once = once
        self._blocks: dict[int, tuple[bytes, int]] = {}
        self._seen: set[int] = set()
        self._seen_bytes = 0
        self._left = 0

    def block(self, start: int) -> tuple[bytes, int]:
        """Return the block at a position, and where the next begins."""
        found = self._blocks.get(start)
        if found is None:
            if not self.start <= start < self._end:
                raise Malformed("a table ends too early")
            found = self._image.metadata(start)
            if start not in self._seen:
                self._count(start, found[1] - start)
            if len(self._blocks) >= _KEPT_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[start] = found
        return found

    def spend(self, size: int) -> None:
        """Count what is read."""
        self._left -= size
        if self._left < 0 and self._once:
            raise Malformed("parts of a table overlap")

    def _count(self, start: int, size: int) -> None:
        self._seen.add(start)
        self._seen_bytes += size
        self._left += METADATA_BYTES
        if self._seen_bytes > self._end - self.start:
            raise Malformed("blocks of a table overlap")


class Cursor:
    """Reads metadata across the borders of its blocks."""

    __slots__ = ("_content", "_next", "_offset", "_table")

    def __init__(self, table: _Table, position: Position) -> None:
        self._table = table
        self._content, self._next = table.block(table.start + position.block)
        self._offset = position.offset
        if self._offset > len(self._content):
            raise Malformed("a place in a table is beyond its block")

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        piece = self._content[self._offset : self._offset + size]
        self._table.spend(len(piece))
        self._offset += size
        return piece if len(piece) == size else self._read_on(piece, size)

    def unpack(self, fields: struct.Struct) -> tuple[Any, ...]:
        """Return the next fields."""
        return fields.unpack(self.read(fields.size))

    def _read_on(self, piece: bytes, size: int) -> bytes:
        parts = [piece]
        missing = size - len(piece)
        while missing:
            self._content, self._next = self._table.block(self._next)
            parts.append(self._content[:missing])
            self._table.spend(len(parts[-1]))
            self._offset = missing
            missing -= len(parts[-1])
        return b"".join(parts)


class _IndexedTable:
    """Records of 16 bytes, in metadata blocks whose positions follow each other."""

    _PER_BLOCK = METADATA_BYTES // _RECORD.size

    def __init__(self, image: Image, positions: int, count: int) -> None:
        self._image = image
        self._positions = positions
        self._count = count
        self._block = (-1, b"")

    def __getitem__(self, number: int) -> bytes:
        if not 0 <= number < self._count:
            raise Malformed("a number is that of nothing")
        which, index = divmod(number, self._PER_BLOCK)
        if self._block[0] != which:
            place = self._image.bytes_at(self._positions + which * _REFERENCE.size, 8)
            self._block = which, self._image.metadata(*_REFERENCE.unpack(place))[0]
        return self._block[1][index * _RECORD.size : (index + 1) * _RECORD.size]


class _Attributes:
    """The sets of extended attributes, each read once."""

    def __init__(self, image: Image, start: int) -> None:
        self._is_absent = start == ABSENT_TABLE
        if self._is_absent:
            return
        pairs, count, _ = _RECORD.unpack(image.bytes_at(start, _RECORD.size))
        self._records = _IndexedTable(image, start + _RECORD.size, count)
        self._pairs = _Table(image, pairs, start)
        # What several sets have is written with one of them, and named by the others.
        self._shared = _Table(image, pairs, start, once=False)
        self._sets: dict[int, Mapping[str, bytes]] = {}
        self._values: dict[int, bytes] = {}
        self._left = _LARGEST_ATTRIBUTES

    def get(self, number: int) -> Mapping[str, bytes]:
        # As the kernel: an inode's number means nothing where there is no table.
        if self._is_absent:
            return {}
        if number not in self._sets:
            self._sets[number] = self._read(*_RECORD.unpack(self._records[number]))
        return self._sets[number]

    def _read(self, reference: int, count: int, _: int) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        cursor = Cursor(self._pairs, Position.of(reference))
        for _ in range(count):
            kind, length = cursor.unpack(_PAIR)
            suffix = cursor.read(length)
            value = _sized(cursor)
            prefix = kind & ~_ELSEWHERE
            if prefix >= len(_PREFIXES):
                continue
            name = _PREFIXES[prefix] + suffix.decode("utf-8", "surrogateescape")
            if name.startswith("user.") or name in OPAQUE:
                found[name] = self._shared_value(value) if kind & _ELSEWHERE else value
                self._left -= len(name) + len(found[name])
                if self._left < 0:
                    raise Malformed("it has more extended attributes than any image")
        return found

    def _shared_value(self, content: bytes) -> bytes:
        (reference,) = _REFERENCE.unpack(content)
        if reference not in self._values:
            self._values[reference] = _sized(Cursor(self._shared, Position.of(reference)))
        return self._values[reference]


def _sized(cursor: Cursor) -> bytes:
    """A value, with its length before it."""
    (length,) = cursor.unpack(_LENGTH)
    if length > _LARGEST_VALUE:
        raise Malformed("it has an extended attribute larger than any")
    return cursor.read(length)
