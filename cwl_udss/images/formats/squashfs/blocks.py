# SPDX-License-Identifier: Apache-2.0
"""Reads the blocks and tables of a SquashFS file, whose structures are in squashfs_format.py.

Nothing of it is trusted: what is read, and what it becomes, is of bounded size.
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from cwl_udss.images.formats.squashfs.format import (
    ABSENT_TABLE,
    MAGIC,
    METADATA_AS_IT_IS,
    METADATA_BYTES,
    NONE,
    STORED_AS_IT_IS,
    SUPERBLOCK_BYTES,
    Position,
)
from cwl_udss.images.trees.merge import kept_attributes

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LARGEST_BLOCK = 1 << 20  # the format's limit
_USER_ATTRIBUTE = 0
_GZIP, _ZSTD = 1, 6

DAMAGE = (zlib.error, zstd.ZstdError, struct.error, ValueError, IndexError, EOFError)
"""What reading a file that is damaged, or no such one, may raise."""


class Image:
    """The blocks and tables of an image. Its methods raise DAMAGE and OSError."""

    def __init__(self, stream: BinaryIO, offset: int = 0) -> None:
        """The image begins at an offset in the stream."""
        self._stream = stream
        self._offset = offset
        self._size = stream.seek(0, os.SEEK_END) - offset
        fields = struct.unpack("<5I6H8Q", self.bytes_at(0, SUPERBLOCK_BYTES))
        magic, _, _, self.block_bytes, fragments, self._compressor, *_ = fields
        root, _, _, attributes, self._inodes, self._directories, fragment_table, _ = fields[11:]
        if magic != MAGIC or self._compressor not in (_GZIP, _ZSTD):
            raise ValueError
        if not 4096 <= self.block_bytes <= _LARGEST_BLOCK:
            raise ValueError
        self.root = _position(root)
        self._fragments = _IndexedTable(self, fragment_table, fragments, 16)
        self._attribute_pairs = 0
        self._attribute_sets = _IndexedTable(self, 0, 0, 16)
        if attributes != ABSENT_TABLE:
            self._attribute_pairs, count, _ = struct.unpack("<Q2I", self.bytes_at(attributes, 16))
            self._attribute_sets = _IndexedTable(self, attributes + 16, count, 16)
        self._blocks: dict[int, tuple[bytes, int]] = {}
        self._fragment: tuple[int, bytes] = (NONE, b"")

    def inode(self, position: Position) -> Cursor:
        """Return what reads from an inode on."""
        return Cursor(self, self._inodes, position)

    def listing(self, position: Position) -> Cursor:
        """Return what reads from a directory's listing on."""
        return Cursor(self, self._directories, position)

    def attributes(self, number: int) -> Mapping[str, bytes]:
        """Return a set of extended attributes, without those that are not `user.`."""
        found: dict[str, bytes] = {}
        if number == NONE:
            return found
        reference, count, _ = struct.unpack("<Q2I", self._attribute_sets[number])
        cursor = Cursor(self, self._attribute_pairs, _position(reference))
        for _ in range(count):
            kind, length = cursor.unpack("<2H")
            name = cursor.read(length)
            value = cursor.read(*cursor.unpack("<I"))
            if kind == _USER_ATTRIBUTE:
                found["user." + name.decode("utf-8", "surrogateescape")] = value
        return kept_attributes(found)

    def fragment(self, number: int) -> bytes:
        """Return a fragment block; the last one is remembered."""
        if self._fragment[0] != number:
            start, size, _ = struct.unpack("<Q2I", self._fragments[number])
            self._fragment = number, self._data(start, size, self.block_bytes)
        return self._fragment[1]

    def block(self, start: int, size: int, length: int) -> bytes:
        """Return a data block, which must have a length."""
        block = self._data(start, size, length)
        if len(block) != length:
            raise EOFError
        return block

    def metadata(self, start: int) -> tuple[bytes, int]:
        """Return a metadata block, and where the next begins."""
        if start not in self._blocks:
            (header,) = struct.unpack("<H", self.bytes_at(start, 2))
            size = header & ~METADATA_AS_IT_IS
            content = self.bytes_at(start + 2, size)
            if not header & METADATA_AS_IT_IS:
                content = self._decompressed(content, METADATA_BYTES)
            self._blocks[start] = content, start + 2 + size
        return self._blocks[start]

    def bytes_at(self, start: int, size: int) -> bytes:
        """Return bytes of the file."""
        if size > _LARGEST_BLOCK:
            raise ValueError
        if start + size > self._size:
            raise EOFError
        self._stream.seek(self._offset + start)
        return self._stream.read(size)

    def _data(self, start: int, size: int, length: int) -> bytes:
        content = self.bytes_at(start, size & ~STORED_AS_IT_IS)
        return content if size & STORED_AS_IT_IS else self._decompressed(content, length)

    def _decompressed(self, content: bytes, longest: int) -> bytes:
        """At most so many bytes, and one that shows that there are more."""
        decompressed: bytes
        if self._compressor == _ZSTD:
            decompressed = zstd.ZstdDecompressor().decompress(content, longest + 1)
        else:
            decompressed = zlib.decompressobj().decompress(content, longest + 1)
        if len(decompressed) > longest:
            raise ValueError
        return decompressed


@dataclass(frozen=True)
class _IndexedTable:
    """Records of one size, in metadata blocks whose positions follow each other."""

    image: Image
    positions: int
    count: int
    record_bytes: int

    def __getitem__(self, number: int) -> bytes:
        if not 0 <= number < self.count:
            raise IndexError
        per_block = METADATA_BYTES // self.record_bytes
        place = self.positions + number // per_block * 8
        (block,) = struct.unpack("<Q", self.image.bytes_at(place, 8))
        return Cursor(self.image, block, Position(0, number % per_block * self.record_bytes)).read(
            self.record_bytes
        )


class Cursor:
    """Reads metadata across the borders of its blocks."""

    def __init__(self, image: Image, table: int, position: Position) -> None:
        self._image = image
        self._content, self._next = image.metadata(table + position.block)
        self._offset = position.offset

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        parts = [self._content[self._offset : self._offset + size]]
        self._offset += size
        missing = size - len(parts[0])
        while missing:
            self._content, self._next = self._image.metadata(self._next)
            parts.append(self._content[:missing])
            self._offset = missing
            missing -= len(parts[-1])
        return b"".join(parts)

    def unpack(self, format: str) -> tuple[Any, ...]:
        """Return the next fields."""
        return struct.unpack(format, self.read(struct.calcsize(format)))


def _position(reference: int) -> Position:
    return Position(reference >> 16, reference & 0xFFFF)
