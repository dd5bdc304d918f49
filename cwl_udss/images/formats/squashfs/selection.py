# SPDX-License-Identifier: Apache-2.0
"""Of the contents that were taken while layers streamed by, those that an image has.

Blocks are copied as they are; only fragment blocks of which a part is left out are made anew.
"""

from __future__ import annotations

import errno
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

from cwl_udss.images.formats.squashfs.data import DataWriter, StoredBlocks
from cwl_udss.images.formats.squashfs.format import NONE, STORED_AS_IT_IS, Blocks
from cwl_udss.images.trees.tree import RegularFile

_COPIED_AT_ONCE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class TakenLayer:
    """The contents of a layer, and which of its files the image has."""

    number: int
    """LayerIndex.number"""
    stream: BinaryIO
    """Of the file with the blocks; nothing more is written to it."""
    stored: StoredBlocks

    @cached_property
    def is_wanted(self) -> bytearray:
        """Of each of its files with content whether the image has it, in the order of their
        records."""
        return bytearray(len(self.stored.places))

    def want(self, offset: int) -> None:
        """Note that the image has the file with an offset. All are to be noted first."""
        self.is_wanted[self.stored.places.position(offset)] = True

    @cached_property
    def is_whole(self) -> bool:
        """Whether the image has all of it."""
        return all(self.is_wanted)

    @cached_property
    def left_out(self) -> bytearray:
        """For each block whether it is left out: fragment blocks are if any part of them is."""
        left_out = bytearray(len(self.stored.sizes))
        for position, is_wanted in enumerate(self.is_wanted):
            if is_wanted:
                continue
            place = self.stored.place(position)
            for number in range(place.first_block, place.first_block + place.blocks):
                left_out[number] = True
            if place.fragment != NONE:
                left_out[self.stored.fragments[place.fragment]] = True
        return left_out


@dataclass(frozen=True, kw_only=True)
class _CopiedLayer:
    """A layer's blocks where they are in an image."""

    stored: StoredBlocks
    starts: array[int]
    """By the numbers of blocks in the layer; of those that are left out it means nothing."""
    fragments: array[int]
    """Which fragment block of the image each of the layer is, or NONE; and then those that were
    made anew."""


class Selection:
    """Puts what is wanted into the stream of an image, and knows where it is then."""

    def __init__(self, stream: BinaryIO, block_bytes: int) -> None:
        self._stream = stream
        self._block_bytes = block_bytes
        self._layers: dict[int, _CopiedLayer] = {}
        self.fragments: list[tuple[int, int]] = []
        """Of each fragment block its position, and its size with its flag."""

    def add(self, layer: TakenLayer) -> None:
        """Copy the blocks of a layer, if they are not those that the image began with."""
        starts = layer.stored.starts()
        if layer.stream is not self._stream:
            starts = self._copy(layer, starts)
        fragments = array("I")
        for block in layer.stored.fragments:
            fragments.append(NONE if layer.left_out[block] else len(self.fragments))
            if not layer.left_out[block]:
                self.fragments.append((starts[block], layer.stored.sizes[block]))
        self._layers[layer.number] = _CopiedLayer(
            stored=layer.stored, starts=starts, fragments=fragments
        )

    def blocks(self, file: RegularFile) -> Blocks:
        """Return where the content of a file is."""
        layer = self._layers[file.layer]
        place = layer.stored.place(layer.stored.places.position(file.offset))
        sizes: Sequence[int] = ()
        if place.blocks:
            sizes = layer.stored.sizes[place.first_block : place.first_block + place.blocks]
        return Blocks(
            start=layer.starts[place.first_block] if sizes else 0,
            sizes=sizes,
            fragment=NONE if place.fragment == NONE else layer.fragments[place.fragment],
            fragment_offset=place.tail_offset,
            hole_bytes=_hole_bytes(sizes, file.size, self._block_bytes) if 0 in sizes else 0,
        )

    def make_anew(
        self,
        layers: Iterable[TakenLayer],
        writer: DataWriter,
        decompress: Callable[[bytes], bytes],
    ) -> None:
        """Write the ends of files whose fragment blocks were not copied, at the end."""
        for layer in layers:
            known = len(layer.stored.fragments)
            for position, tail in _tails(layer, decompress):
                fragment, offset = writer.add_tail(tail)
                layer.stored.move_tail(position, known + fragment, offset)
        stored = writer.finish()
        starts = stored.starts()
        first = len(self.fragments)
        self.fragments += [(starts[block], stored.sizes[block]) for block in stored.fragments]
        for copied in self._layers.values():
            copied.fragments.extend(range(first, len(self.fragments)))

    def _copy(self, layer: TakenLayer, starts: array[int]) -> array[int]:
        """Copy blocks; those beside each other at once. Returns where each is in the image."""
        moved = array("Q")
        position = self._stream.tell()
        pending = starts[0]  # what is between this and the block that is looked at comes along
        for number, left_out in enumerate(layer.left_out):
            moved.append(position)
            if left_out:
                _copy(layer.stream, pending, starts[number] - pending, self._stream)
                pending = starts[number + 1]
            else:
                position += starts[number + 1] - starts[number]
        _copy(layer.stream, pending, starts[-1] - pending, self._stream)
        return moved


def _tails(layer: TakenLayer, decompress: Callable[[bytes], bytes]) -> Iterator[tuple[int, bytes]]:
    """The ends of files whose fragment blocks are left out, with the positions of their records."""
    stored, starts = layer.stored, layer.stored.starts()
    content = b""
    read = NONE
    if layer.is_whole:
        return
    for position in (x for x, is_wanted in enumerate(layer.is_wanted) if is_wanted):
        place = stored.place(position)
        if place.fragment == NONE or not layer.left_out[stored.fragments[place.fragment]]:
            continue
        if place.fragment != read:
            read = place.fragment
            block = stored.fragments[read]
            content = _read(layer.stream, starts[block], starts[block + 1] - starts[block])
            if not stored.sizes[block] & STORED_AS_IT_IS:
                content = decompress(content)
        yield position, content[place.tail_offset : place.tail_offset + place.tail_bytes]


def _copy(source: BinaryIO, offset: int, size: int, target: BinaryIO) -> None:
    while size:
        piece = _read(source, offset, min(size, _COPIED_AT_ONCE))
        target.write(piece)
        offset += len(piece)
        size -= len(piece)


def _read(source: BinaryIO, offset: int, size: int) -> bytes:
    source.seek(offset)
    piece = source.read(size)
    if len(piece) < size:
        raise OSError(errno.EIO, f"{source.name} has become shorter")
    return piece


def _hole_bytes(sizes: Sequence[int], file_size: int, block_bytes: int) -> int:
    """What the blocks that are not stored would hold; the last may be shorter."""
    missing = len(sizes) * block_bytes - file_size if sizes[-1] == 0 else 0
    return sizes.count(0) * block_bytes - max(missing, 0)
