# SPDX-License-Identifier: Apache-2.0
"""Tables of a SquashFS image as they are written: records in compressed blocks."""

from __future__ import annotations

import io
import struct
from array import array
from collections.abc import Callable, Mapping
from typing import BinaryIO

from cwl_udss.images.formats.squashfs.format import (
    ABSENT_TABLE,
    METADATA_BYTES,
    NONE,
    Position,
    attribute_entry,
    attribute_table_header,
    metadata_block,
    pack_attributes,
    storable_attributes,
)

Compress = Callable[[bytes], bytes]


class Metadata:
    """A table in the making: a stream of records, in compressed blocks that are written to a file
    from where that is."""

    def __init__(self, compress: Compress, stream: BinaryIO) -> None:
        self._compress = compress
        self._stream = stream
        self._rest = bytearray()
        self._size = 0
        self._block_starts = array("Q")

    @property
    def position(self) -> Position:
        """Where the next record will be."""
        return Position(self._size, len(self._rest))

    def add(self, record: bytes) -> Position:
        """Add a record. Returns where it is."""
        position = Position(self._size, len(self._rest))
        self._rest += record
        while len(self._rest) >= METADATA_BYTES:
            self._write(bytes(self._rest[:METADATA_BYTES]))
            del self._rest[:METADATA_BYTES]
        return position

    def finish(self) -> None:
        """Write the rest; nothing may be added after."""
        if self._rest:
            self._write(bytes(self._rest))
            self._rest.clear()

    def block_positions(self, start: int) -> bytes:
        """Where the blocks are, for a reader that does not go through all of them; of a finished
        table, at `start` in the image."""
        return struct.pack(
            f"<{len(self._block_starts)}Q", *(start + block for block in self._block_starts)
        )

    def _write(self, content: bytes) -> None:
        self._block_starts.append(self._size)
        block = metadata_block(content, self._compress(content))
        self._stream.write(block)
        self._size += len(block)


class AttributeTable:
    """Sets of extended attributes, each distinct one stored once."""

    def __init__(self, compress: Compress) -> None:
        self._streams = io.BytesIO(), io.BytesIO()
        self._pairs, self._entries = (Metadata(compress, stream) for stream in self._streams)
        self._numbers: dict[bytes, int] = {}

    def add(self, attributes: Mapping[str, bytes]) -> int:
        """The number of a set of attributes, or NONE if there is nothing to be stored."""
        storable = storable_attributes(attributes)
        if not storable:
            return NONE
        packed = pack_attributes(storable)
        if packed not in self._numbers:
            self._numbers[packed] = len(self._numbers)
            position = self._pairs.add(packed)
            self._entries.add(attribute_entry(position, len(storable), len(packed)))
        return self._numbers[packed]

    def write(self, stream: BinaryIO) -> int:
        """Write the finished table. Returns where its header is, or that there is none."""
        if not self._numbers:
            return ABSENT_TABLE
        starts = []
        for table, made in zip((self._pairs, self._entries), self._streams, strict=True):
            table.finish()
            starts.append(stream.tell())
            stream.write(made.getbuffer())
        pairs, entries = starts
        header = stream.tell()
        stream.write(attribute_table_header(pairs, len(self._numbers)))
        stream.write(self._entries.block_positions(entries))
        return header
