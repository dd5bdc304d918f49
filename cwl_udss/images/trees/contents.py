# SPDX-License-Identifier: Apache-2.0
"""What the sinks share: how they are used, and the result.

A layer is read once. So a sink takes the contents of all files as they stream by, and keeps them
aside in the form that they will have; when all layers have been merged, it makes the image of those
that are in the tree.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from cwl_udss.images.trees.tree import RegularFile, Tree

Content = Iterable[bytes | memoryview]
"""A file's bytes in pieces, of a sparse file without its holes."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a sink has written."""

    entries: int
    bytes: int
    """Of a directory the sum of its files' sizes, of a SquashFS file its own."""
    digest: str = ""
    """ "sha256:…" of what is one file."""


class Records:
    """What is known of a layer's files by their offsets, in few bytes each: they may be many."""

    def __init__(self, size: int) -> None:
        """`size` is that of each record, in bytes."""
        self._size = size
        self._records = bytearray()
        self.offsets = array("Q")

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, position: int) -> bytes:
        """Return a record."""
        return bytes(self._records[position * self._size : (position + 1) * self._size])

    def position(self, offset: int) -> int:
        """Return which record is that of the file with an offset, which has been added."""
        return bisect_left(self.offsets, offset)

    def replace(self, position: int, record: bytes) -> None:
        """Put another record in the place of one."""
        self._records[position * self._size : (position + 1) * self._size] = record

    def add(self, offset: int, record: bytes) -> None:
        """Add a record; offsets come in their order."""
        self.offsets.append(offset)
        self._records += record


class Sink(Protocol):
    """Writes an image."""

    def add(self, file: RegularFile, content: Content) -> None:
        """Take the content of a file that may turn out to be in the tree.

        A layer's files come in the order of their offsets, layers from several threads. Nothing is
        done for files without content. Raises InvalidImage and OSError.
        """

    def finish(self, tree: Tree) -> Written:
        """Write a tree, in which each file with content has been added. Raises InvalidImage and
        OSError."""

    def close(self) -> None:
        """Release what it has used."""


def write_tree(tree: Tree, contents: Iterable[tuple[RegularFile, Content]], sink: Sink) -> Written:
    """Write a tree of which all is known beforehand."""
    for file, content in contents:
        sink.add(file, content)
    return sink.finish(tree)


def placed(file: RegularFile, content: Content) -> Iterator[tuple[int, bytes | memoryview]]:
    """The pieces of a content, each with its offset in the file."""
    if file.extents is None:
        offset = 0
        for piece in content:
            yield offset, piece
            offset += len(piece)
        return
    pieces = iter(content)
    piece = memoryview(b"")
    for start, length in file.extents:
        offset = start
        while offset < start + length:
            piece = piece or memoryview(next(pieces))
            part = piece[: start + length - offset]
            yield offset, part
            offset += len(part)
            piece = piece[len(part) :]


def clamped_time(mtime: float, latest: int) -> float:
    """A time from 1970 to `latest`, whatever a header says (PAX allows negative ones, and "nan"
    passes for a number)."""
    return min(mtime, latest) if mtime > 0 else 0
