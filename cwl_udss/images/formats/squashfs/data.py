# SPDX-License-Identifier: Apache-2.0
"""File contents as SquashFS holds them: cut into blocks, compressed in threads, stored in order."""

from __future__ import annotations

import struct
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO, NamedTuple

from cwl_udss.images.formats.squashfs.format import NONE, STORED_AS_IT_IS
from cwl_udss.images.trees.contents import Content, Records, placed
from cwl_udss.images.trees.tree import RegularFile

_STORED_BYTES = STORED_AS_IT_IS - 1
# Enough for a thread never to wait while the main one reads; memory is this many blocks, twice.
_BLOCKS_IN_FLIGHT = 4


class Place(NamedTuple):
    """Where a file's content is, by the numbers of blocks."""

    first_block: int
    blocks: int
    """They follow each other."""
    fragment: int
    """The number of the fragment block with the rest, among these; or NONE."""
    tail_offset: int
    tail_bytes: int


_PLACE = struct.Struct("=5I")


@dataclass(frozen=True, kw_only=True)
class StoredBlocks:
    """Blocks that follow each other in a file."""

    start: int
    """Of the first block, in bytes of the file."""
    sizes: array[int]
    """Of each block, with its flag; 0 for one of zeros only, which is not stored."""
    fragments: array[int]
    """The numbers of those that are fragment blocks."""
    places: Records
    """See place()."""

    def place(self, position: int) -> Place:
        """Return where the content of a file is, by its position among the records."""
        return Place._make(_PLACE.unpack(self.places[position]))

    def move_tail(self, position: int, fragment: int, offset: int) -> None:
        """From now on the end of a file is somewhere else."""
        place = self.place(position)._replace(fragment=fragment, tail_offset=offset)
        self.places.replace(position, _PLACE.pack(*place))

    def starts(self) -> array[int]:
        """Where in the file each block begins, and at last where they end."""
        return array("Q", accumulate((x & _STORED_BYTES for x in self.sizes), initial=self.start))


class DataWriter:
    """Writes contents to the end of a stream, which nobody else may write to until finish().

    What is written does not depend on the number of threads, nor on which is faster. Memory is
    bounded: some blocks in flight, 4 bytes for each block that has been written, and 28 a file.
    """

    def __init__(
        self,
        stream: BinaryIO,
        compress: Callable[[bytes], bytes],
        pool: ThreadPoolExecutor,
        *,
        threads: int,
        block_bytes: int,
    ) -> None:
        self._stream = stream
        self._start = stream.tell()
        self._compress = compress
        self._pool = pool
        self._limit = threads * _BLOCKS_IN_FLIGHT
        self._block_bytes = block_bytes
        self._zeros = bytes(block_bytes)
        self._sizes = array("I")
        self._pending: deque[tuple[int, Future[tuple[bytes, int]]]] = deque()
        self._tails: list[bytes] = []  # of the fragment block that is being filled
        self._tails_bytes = 0
        self._fragments = array("I")
        self._places = Records(_PLACE.size)

    def add(self, file: RegularFile, content: Content) -> None:
        """Write a file's content. Raises OSError, and what reading the content raises."""
        first = len(self._sizes)
        tail = b""
        count = 0
        for block in self._cut(file, content):
            if self._zeros.startswith(block):
                self._sizes.append(0)
            elif len(block) == self._block_bytes:
                self._put(block)
            else:
                tail = block
                break
            count += 1
        fragment, offset = self.add_tail(tail) if tail else (NONE, 0)
        self._places.add(file.offset, _PLACE.pack(first, count, fragment, offset, len(tail)))

    def _cut(self, file: RegularFile, content: Content) -> Iterable[bytes]:
        """The blocks of a file; nearly all files are smaller than one."""
        if file.size < self._block_bytes and file.extents is None:
            return (b"".join(content),)
        return cut(_with_holes(file, content, self._zeros), self._block_bytes)

    def add_tail(self, tail: bytes) -> tuple[int, int]:
        """Add the end of a file to a fragment block: which one, and where in it."""
        if self._tails_bytes + len(tail) > self._block_bytes:
            self._put_tails()
        offset = self._tails_bytes
        self._tails.append(tail)
        self._tails_bytes += len(tail)
        return len(self._fragments), offset

    def finish(self) -> StoredBlocks:
        """Write what has not been written yet."""
        self._put_tails()
        while self._pending:
            self._store_next()
        return StoredBlocks(
            start=self._start, sizes=self._sizes, fragments=self._fragments, places=self._places
        )

    def _put_tails(self) -> None:
        if self._tails:
            self._fragments.append(len(self._sizes))
            self._put(b"".join(self._tails))
            self._tails, self._tails_bytes = [], 0

    def _put(self, block: bytes) -> None:
        stored = self._pool.submit(_stored, block, self._compress)
        self._pending.append((len(self._sizes), stored))
        self._sizes.append(0)
        while len(self._pending) > self._limit or (self._pending and self._pending[0][1].done()):
            self._store_next()

    def _store_next(self) -> None:
        number, future = self._pending.popleft()
        stored, size = future.result()
        self._stream.write(stored)
        self._sizes[number] = size


def _stored(block: bytes, compress: Callable[[bytes], bytes]) -> tuple[bytes, int]:
    """A block as it is stored, and its size with its flag. Called in a thread."""
    compressed = compress(block)
    if len(compressed) < len(block):
        return compressed, len(compressed)
    return block, len(block) | STORED_AS_IT_IS


def _with_holes(file: RegularFile, content: Content, zeros: bytes) -> Content:
    """A file's bytes, with the holes in it: of these, whole blocks are `zeros` itself."""
    return content if file.extents is None else _filled(file, content, zeros)


def _filled(file: RegularFile, content: Content, zeros: bytes) -> Content:
    end = 0
    for offset, piece in placed(file, content):
        yield from _hole(end, offset, zeros)
        yield piece
        end = offset + len(piece)
    yield from _hole(end, file.size, zeros)


def _hole(start: int, end: int, zeros: bytes) -> Iterator[bytes]:
    while start < end:
        hole = min(end - start, len(zeros) - start % len(zeros))
        yield zeros[:hole]
        start += hole


def cut(pieces: Iterable[bytes | memoryview], size: int) -> Iterator[bytes]:
    """Blocks of `size` bytes, the last one shorter. A piece that is one is passed on uncopied."""
    parts: list[bytes | memoryview] = []
    missing = size
    for piece in pieces:
        rest = piece
        while len(rest) >= missing:
            parts.append(rest[:missing])
            yield b"".join(parts)
            rest, parts, missing = rest[missing:], [], size
        if rest:
            parts.append(rest)
            missing -= len(rest)
    if parts:
        yield b"".join(parts)
