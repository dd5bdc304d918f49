# SPDX-License-Identifier: Apache-2.0
"""File contents as SquashFS holds them: cut into blocks, compressed in threads, stored in order."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from typing import BinaryIO, NamedTuple

from cwl_udss.images.archive import Extent
from cwl_udss.images.contents import LayerContent
from cwl_udss.images.squashfs_format import NONE, STORED_AS_IT_IS, Blocks
from cwl_udss.images.tree import RegularFile

_STORED_BYTES = STORED_AS_IT_IS - 1
# Enough for a thread never to wait while the main one reads; memory is this many blocks, twice.
_BLOCKS_IN_FLIGHT = 8


class _Place(NamedTuple):
    """Where a file's content is, by the numbers of blocks whose sizes may not be known yet."""

    first_block: int
    blocks: int
    fragment: int
    fragment_offset: int


class DataWriter:
    """Writes contents to the end of a stream, which nobody else may write to until finish().

    What is written does not depend on the number of threads, nor on which is faster. Memory is
    bounded: some blocks in flight, 4 bytes for each block that has been written, and 150 a file.
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
        self._sizes = array("I")  # of the blocks in the image, with their flags
        self._pending: deque[tuple[int, Future[tuple[bytes, int]]]] = deque()
        self._tails: list[bytes] = []  # of the fragment block that is being filled
        self._tails_bytes = 0
        self._fragments = array("I")  # numbers of the blocks that are fragment blocks
        self._places: dict[RegularFile, _Place] = {}

    def add(self, file: RegularFile, content: LayerContent) -> None:
        """Write a file's content. Raises InvalidImage if the layer ends, and OSError."""
        first = len(self._sizes)
        fragment, offset = NONE, 0
        for block in cut(_pieces(file, content, self._zeros), self._block_bytes):
            if self._zeros.startswith(block):
                self._sizes.append(0)
            elif len(block) == self._block_bytes:
                self._put(block)
            else:
                count = len(self._sizes) - first
                fragment, offset = self._put_tail(block)
                self._places[file] = _Place(first, count, fragment, offset)
                return
        self._places[file] = _Place(first, len(self._sizes) - first, NONE, 0)

    def finish(self) -> DataTable:
        """Write what has not been written yet."""
        self._put_tails()
        while self._pending:
            self._store_next()
        return DataTable(
            self._places, self._sizes, self._fragments, start=self._start, size=self._block_bytes
        )

    def _put_tail(self, tail: bytes) -> tuple[int, int]:
        """Add the end of a file to a fragment block: which one, and where in it."""
        if self._tails_bytes + len(tail) > self._block_bytes:
            self._put_tails()
        offset = self._tails_bytes
        self._tails.append(tail)
        self._tails_bytes += len(tail)
        return len(self._fragments), offset

    def _put_tails(self) -> None:
        if self._tails:
            self._fragments.append(len(self._sizes))
            self._put(b"".join(self._tails))
            self._tails, self._tails_bytes = [], 0

    def _put(self, block: bytes) -> None:
        self._pending.append((len(self._sizes), self._pool.submit(_stored, block, self._compress)))
        self._sizes.append(0)
        while len(self._pending) > self._limit or (self._pending and self._pending[0][1].done()):
            self._store_next()

    def _store_next(self) -> None:
        number, future = self._pending.popleft()
        stored, size = future.result()
        self._stream.write(stored)
        self._sizes[number] = size


class DataTable:
    """Where the contents of all files are."""

    def __init__(
        self,
        places: dict[RegularFile, _Place],
        sizes: array[int],
        fragments: array[int],
        *,
        start: int,
        size: int,
    ) -> None:
        self._places = places
        self._sizes = sizes
        self._fragments = fragments
        self._block_bytes = size
        # Blocks follow each other: where one is, is what those before it take.
        self._starts = array("Q", accumulate((x & _STORED_BYTES for x in sizes), initial=start))

    def __getitem__(self, file: RegularFile) -> Blocks:
        place = self._places[file]
        sizes = self._sizes[place.first_block : place.first_block + place.blocks]
        return Blocks(
            start=self._starts[place.first_block] if sizes else 0,
            sizes=sizes,
            fragment=place.fragment,
            fragment_offset=place.fragment_offset,
            hole_bytes=_hole_bytes(sizes, file.size, self._block_bytes) if 0 in sizes else 0,
        )

    def fragments(self) -> Iterator[tuple[int, int]]:
        """Where each fragment block is, and its size with its flag."""
        for number in self._fragments:
            yield self._starts[number], self._sizes[number]


def _hole_bytes(sizes: Sequence[int], file_size: int, block_bytes: int) -> int:
    """What the blocks that are not stored would hold; the last may be shorter."""
    missing = len(sizes) * block_bytes - file_size if sizes[-1] == 0 else 0
    return sizes.count(0) * block_bytes - max(missing, 0)


def _stored(block: bytes, compress: Callable[[bytes], bytes]) -> tuple[bytes, int]:
    """A block as it is stored, and its size with its flag. Called in a thread."""
    compressed = compress(block)
    if len(compressed) < len(block):
        return compressed, len(compressed)
    return block, len(block) | STORED_AS_IT_IS


def _pieces(file: RegularFile, content: LayerContent, zeros: bytes) -> Iterator[bytes | memoryview]:
    """A file's bytes, with the holes in it: of these, whole blocks are `zeros` itself."""
    if file.extents is None:
        yield from content.read(file, file.size)
        return
    position = 0
    for offset, length in (*file.extents, Extent(file.size, 0)):
        while position < offset:
            hole = min(offset - position, len(zeros) - position % len(zeros))
            yield zeros[:hole]
            position += hole
        yield from content.read(file, length)
        position += length


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
