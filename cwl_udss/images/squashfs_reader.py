# SPDX-License-Identifier: Apache-2.0
"""Reads a SquashFS file as a tree, so that a sink can write it in another format.

It reads what SquashfsSink writes (squashfs_format.py has the structures), and trusts nothing of it:
a bundle may come from anywhere, and disks forget. Names are bytes.
"""

from __future__ import annotations

import contextlib
import struct
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from cwl_udss.errors import InvalidImage
from cwl_udss.images.archive import Extent
from cwl_udss.images.merge import kept_attributes
from cwl_udss.images.squashfs_format import (
    ABSENT_TABLE,
    DIRECTORY,
    DOTS_BYTES,
    EXTENDED,
    FILE,
    MAGIC,
    METADATA_AS_IT_IS,
    METADATA_BYTES,
    NONE,
    STORED_AS_IT_IS,
    SUPERBLOCK_BYTES,
    SYMBOLIC_LINK,
    Position,
)
from cwl_udss.images.tree import Directory, Node, RegularFile, SymbolicLink, Tree

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LARGEST_BLOCK = 1 << 20  # the format's limit
_LONGEST_LINK = 4095
_USER_ATTRIBUTE = 0
_GZIP, _ZSTD = 1, 6

_DAMAGE = (zlib.error, zstd.ZstdError, struct.error, ValueError, IndexError, EOFError)


def read_squashfs(path: Path) -> tuple[Tree, Iterator[tuple[RegularFile, Iterator[bytes]]]]:
    """Return an image's tree, and its files with their contents, which are read then. Raises
    OSError, and InvalidImage if the file is damaged, or no SquashFS file that we could have made.
    """
    with path.open("rb") as stream, _explained(path):
        tree, files = _TreeReader(_Image(stream)).read()
    return tree, _contents(path, files)


class _File(NamedTuple):
    """A regular file, and where its content is."""

    node: RegularFile
    start: int
    sizes: tuple[int, ...]
    fragment: int
    fragment_offset: int

    @property
    def place(self) -> tuple[int, int]:
        """Files of one fragment block follow each other: it is decompressed once for all."""
        return self.fragment, self.start


def _contents(path: Path, files: list[_File]) -> Iterator[tuple[RegularFile, Iterator[bytes]]]:
    with path.open("rb") as stream:
        image = _Image(stream)
        for file in files:
            yield file.node, _content(path, image, file)


def _content(path: Path, image: _Image, file: _File) -> Iterator[bytes]:
    """A file's bytes without its holes."""
    with _explained(path):
        left = file.node.size
        start = file.start
        for size in file.sizes:
            length = min(left, image.block_bytes)
            if size:
                yield image.block(start, size, length)
                start += size & ~STORED_AS_IT_IS
            left -= length
        if left:
            tails = image.fragment(file.fragment)
            tail = tails[file.fragment_offset : file.fragment_offset + left]
            if len(tail) != left:
                raise EOFError
            yield tail


class _Image:
    """The blocks and tables of an image."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
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

    def inode(self, position: Position) -> _Cursor:
        """Return what reads from an inode on."""
        return _Cursor(self, self._inodes, position)

    def listing(self, position: Position) -> _Cursor:
        """Return what reads from a directory's listing on."""
        return _Cursor(self, self._directories, position)

    def attributes(self, number: int) -> Mapping[str, bytes]:
        """Return a set of extended attributes, without those that are not `user.`."""
        found: dict[str, bytes] = {}
        if number == NONE:
            return found
        reference, count, _ = struct.unpack("<Q2I", self._attribute_sets[number])
        cursor = _Cursor(self, self._attribute_pairs, _position(reference))
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
        self._stream.seek(start)
        content = self._stream.read(size)
        if len(content) != size:
            raise EOFError
        return content

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

    image: _Image
    positions: int
    count: int
    record_bytes: int

    def __getitem__(self, number: int) -> bytes:
        if not 0 <= number < self.count:
            raise IndexError
        per_block = METADATA_BYTES // self.record_bytes
        place = self.positions + number // per_block * 8
        (block,) = struct.unpack("<Q", self.image.bytes_at(place, 8))
        return _Cursor(self.image, block, Position(0, number % per_block * self.record_bytes)).read(
            self.record_bytes
        )


class _Cursor:
    """Reads metadata across the borders of its blocks."""

    def __init__(self, image: _Image, table: int, position: Position) -> None:
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


class _TreeReader:
    """Goes through the directories of an image."""

    def __init__(self, image: _Image) -> None:
        self._image = image
        self._files: list[_File] = []
        self._nodes: dict[Position, Node | None] = {}
        self._listings: list[tuple[Directory, Position, int]] = []
        self._linked: set[Node] = set()

    def read(self) -> tuple[Tree, list[_File]]:
        """Return the tree, and its files in the order in which their contents are to be read."""
        root = self._node(self._image.root)
        if not isinstance(root, Directory):
            raise ValueError
        while self._listings:
            self._read_listing(*self._listings.pop())
        self._files.sort(key=lambda file: file.place)
        offset = 0
        for file in self._files:
            file.node.offset = offset
            offset += file.node.size
        return Tree(root=root, linked=frozenset(self._linked)), self._files

    def _read_listing(self, directory: Directory, position: Position, size: int) -> None:
        cursor = self._image.listing(position)
        while size > 0:
            count, block, _ = cursor.unpack("<3I")
            size -= 12
            for _ in range(count + 1):
                offset, _, _, length = cursor.unpack("<HhHH")
                name = cursor.read(length + 1)
                size -= 8 + len(name)
                # A sink takes names as they are.
                if b"/" in name or b"\0" in name or name in (b".", b".."):
                    raise ValueError
                self._add(directory, name, Position(block, offset))

    def _add(self, directory: Directory, name: bytes, position: Position) -> None:
        is_known = position in self._nodes
        node = self._nodes[position] if is_known else self._node(position)
        if node is None:  # a device or the like
            return
        if is_known:
            if isinstance(node, Directory):  # in itself, perhaps
                raise ValueError
            self._linked.add(node)
        directory.entries[name] = node

    def _node(self, position: Position) -> Node | None:
        cursor = self._image.inode(position)
        kind, mode, _, _, mtime, _ = cursor.unpack("<4H2I")
        node: Node | None = None
        if kind in (DIRECTORY, DIRECTORY + EXTENDED):
            node = self._directory(cursor, kind == DIRECTORY)
            node.mode, node.mtime = mode & 0o1777, mtime
        elif kind in (FILE, FILE + EXTENDED):
            node = self._file(cursor, kind == FILE)
            node.mode, node.mtime = mode & 0o777, mtime
        elif kind in (SYMBOLIC_LINK, SYMBOLIC_LINK + EXTENDED):
            _, length = cursor.unpack("<2I")
            if not 0 < length <= _LONGEST_LINK:
                raise ValueError
            node = SymbolicLink(cursor.read(length), mtime)
        self._nodes[position] = node
        return node

    def _directory(self, cursor: _Cursor, is_basic: bool) -> Directory:
        attributes = NONE
        if is_basic:
            block, _, size, offset, _ = cursor.unpack("<2I2HI")
        else:
            _, size, block, _, _, offset, attributes = cursor.unpack("<4I2HI")
        node = Directory(attributes=self._image.attributes(attributes))
        self._listings.append((node, Position(block, offset), size - DOTS_BYTES))
        return node

    def _file(self, cursor: _Cursor, is_basic: bool) -> RegularFile:
        attributes = NONE
        if is_basic:
            start, fragment, fragment_offset, size = cursor.unpack("<4I")
        else:
            start, size, _, _, fragment, fragment_offset, attributes = cursor.unpack("<3Q4I")
        block_bytes = self._image.block_bytes
        count = size // block_bytes if fragment != NONE else -(-size // block_bytes)
        sizes = tuple(cursor.unpack(f"<{count}I"))
        node = RegularFile(
            mode=0,
            mtime=0,
            size=size,
            layer=0,
            offset=0,
            extents=_extents(sizes, size, block_bytes),
            attributes=self._image.attributes(attributes),
        )
        if size:
            self._files.append(_File(node, start, sizes, fragment, fragment_offset))
        return node


def _extents(sizes: tuple[int, ...], size: int, block_bytes: int) -> tuple[Extent, ...] | None:
    """The pieces of a file that has blocks that are not stored."""
    if all(sizes):
        return None
    extents = []
    for number, stored in enumerate((*sizes, 1)):  # the rest, in a fragment block, is no hole
        start = number * block_bytes
        length = min(size - start, block_bytes)
        if stored and length > 0:
            extents.append(Extent(start, length))
    return tuple(extents)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise InvalidImage(
            f"{path} is damaged, or no SquashFS file of cwl-udss",
            "see: cwl-udss images verify; a damaged image is pulled again when it is needed",
        ) from error
