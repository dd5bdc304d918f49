# SPDX-License-Identifier: Apache-2.0
"""Reads a SquashFS file as a tree, so that a sink can write it in another format.

It reads what SquashfsSink writes, and trusts nothing of it: a bundle may come from anywhere, and
disks forget. Names are bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cwl_udss.errors import InvalidImage
from cwl_udss.images.formats.squashfs.blocks import DAMAGE, Cursor, Image
from cwl_udss.images.formats.squashfs.format import (
    DIRECTORY,
    DOTS_BYTES,
    EXTENDED,
    FILE,
    NONE,
    STORED_AS_IT_IS,
    SYMBOLIC_LINK,
    Position,
)
from cwl_udss.images.layers.members import Extent
from cwl_udss.images.trees.tree import Directory, Node, RegularFile, SymbolicLink, Tree

_LONGEST_LINK = 4095


def read_squashfs(
    path: Path, offset: int = 0
) -> tuple[Tree, Iterator[tuple[RegularFile, Iterator[bytes]]]]:
    """Return the tree of an image that begins at an offset in a file, and its files with their
    contents, which are read then. Raises OSError, and InvalidImage if the file is damaged, or no
    SquashFS file that we could have made."""
    with path.open("rb") as stream, _explained(path):
        tree, files = _TreeReader(Image(stream, offset)).read()
    return tree, _contents(path, offset, files)


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


def _contents(
    path: Path, offset: int, files: list[_File]
) -> Iterator[tuple[RegularFile, Iterator[bytes]]]:
    with path.open("rb") as stream:
        image = Image(stream, offset)
        for file in files:
            yield file.node, _content(path, image, file)


def _content(path: Path, image: Image, file: _File) -> Iterator[bytes]:
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


class _TreeReader:
    """Goes through the directories of an image."""

    def __init__(self, image: Image) -> None:
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

    def _directory(self, cursor: Cursor, is_basic: bool) -> Directory:
        attributes = NONE
        if is_basic:
            block, _, size, offset, _ = cursor.unpack("<2I2HI")
        else:
            _, size, block, _, _, offset, attributes = cursor.unpack("<4I2HI")
        node = Directory(attributes=self._image.attributes(attributes))
        self._listings.append((node, Position(block, offset), size - DOTS_BYTES))
        return node

    def _file(self, cursor: Cursor, is_basic: bool) -> RegularFile:
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
    except DAMAGE as error:
        raise InvalidImage(
            f"{path} is damaged, or no SquashFS file of cwl-udss",
            "see: cwl-udss images verify; a damaged image is pulled again when it is needed",
        ) from error
