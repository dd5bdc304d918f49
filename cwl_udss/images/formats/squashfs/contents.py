# SPDX-License-Identifier: Apache-2.0
"""The contents of a SquashFS file's files: decompressed in threads, a few blocks ahead."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from cwl_udss.images.formats.squashfs.format import NONE, STORED_AS_IT_IS
from cwl_udss.images.formats.squashfs.parsing.blocks import Image
from cwl_udss.images.formats.squashfs.parsing.damage import Malformed, explained
from cwl_udss.images.formats.squashfs.parsing.inodes import FileInode
from cwl_udss.images.trees.tree import RegularFile

_MOST_THREADS = 4  # whoever takes what they have read does not keep more of them busy
_BLOCKS_AHEAD = 3  # for each thread; memory is this many blocks


class StoredFile(NamedTuple):
    """A file of the tree, and what the image says of it."""

    node: RegularFile
    inode: FileInode

    @property
    def place(self) -> tuple[int, int]:
        """Files of one fragment block follow each other: it is decompressed once for all."""
        return self.inode.fragment, self.inode.start


def read_contents(
    path: Path, offset: int, files: Sequence[StoredFile]
) -> Iterator[tuple[RegularFile, Iterator[bytes]]]:
    """Yield files with their bytes, without their holes. They come by their places."""
    threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    with path.open("rb") as stream, ThreadPoolExecutor(threads, "squashfs") as pool:
        with explained(path):
            image = Image(stream, offset)
        pieces = _ahead(_pieces(image, files, pool), threads * _BLOCKS_AHEAD)
        for file in files:
            content = _content(path, pieces, file)
            yield file.node, content
            for _ in content:  # what the other has not taken is in the way of the next file
                pass


def content(image: Image, inode: FileInode) -> Iterator[bytes]:
    """Yield a file's bytes with its holes. Raises what damage.explained() explains, and OSError."""
    start, left = inode.start, inode.size
    for size in inode.sizes:
        length = min(left, image.layout.block_bytes)
        yield _block(image, start, size, length) if size else bytes(length)
        start += size & ~STORED_AS_IT_IS
        left -= length
    if left:
        yield _part(_fragment(image, inode.fragment), inode.fragment_offset, left)


class _Piece(NamedTuple):
    """A block, or what a file has of a fragment block."""

    block: Future[bytes]
    is_new: bool
    offset: int
    size: int


def _pieces(
    image: Image, files: Sequence[StoredFile], pool: ThreadPoolExecutor
) -> Iterator[_Piece]:
    """Begin to read what is asked for."""
    last = NONE
    tails: Future[bytes] | None = None
    for _, inode in files:
        start, left = inode.start, inode.size
        for size in inode.sizes:
            length = min(left, image.layout.block_bytes)
            if size:
                yield _Piece(pool.submit(_block, image, start, size, length), True, 0, length)
            start += size & ~STORED_AS_IT_IS
            left -= length
        if left:
            is_new = tails is None or last != inode.fragment
            if tails is None or is_new:
                place = image.fragment_place(inode.fragment)
                tails = pool.submit(image.block, *place, image.layout.block_bytes)
                last = inode.fragment
            yield _Piece(tails, is_new, inode.fragment_offset, left)


def _ahead(pieces: Iterator[_Piece], most: int) -> Iterator[bytes]:
    """Take so many blocks before they are asked for."""
    pending: deque[_Piece] = deque()
    blocks = 0
    while True:
        while blocks < most and (piece := next(pieces, None)) is not None:
            pending.append(piece)
            blocks += piece.is_new
        if not pending:
            return
        block, is_new, offset, size = pending.popleft()
        blocks -= is_new
        yield _part(block.result(), offset, size)


def _content(path: Path, pieces: Iterator[bytes], file: StoredFile) -> Iterator[bytes]:
    left = (
        file.node.size
        if file.node.extents is None
        else sum(extent.length for extent in file.node.extents)
    )
    with explained(path):
        while left:
            piece = next(pieces)
            left -= len(piece)
            yield piece


def _fragment(image: Image, number: int) -> bytes:
    start, size = image.fragment_place(number)
    return image.block(start, size, image.layout.block_bytes)


def _block(image: Image, start: int, size: int, length: int) -> bytes:
    return _part(image.block(start, size, length), 0, length)


def _part(block: bytes, offset: int, size: int) -> bytes:
    part = block[offset : offset + size]
    if len(part) != size:
        raise Malformed("a block is shorter than it may be")
    return part
