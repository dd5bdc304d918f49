# SPDX-License-Identifier: Apache-2.0
"""Where the pieces of sparse files are: GNU tar's manual, "Storing Sparse Files"."""

from __future__ import annotations

from collections.abc import Mapping

from cwl_udss.images.layers.members import Extent
from cwl_udss.images.layers.stream import Stream, truncated
from cwl_udss.images.layers.tar_fields import BLOCK, corrupt, parse_decimal, parse_number


def old_sparse(stream: Stream, block: bytes) -> tuple[Extent, ...]:
    """GNU's type S: four extents in the header, 21 in each extension block."""
    extents = _extents_in(block[386:482])
    more = block[482]
    while more:
        extension = stream.read(BLOCK)
        if len(extension) < BLOCK:
            raise truncated()
        extents += _extents_in(extension[:504])
        more = extension[504]
    return tuple(extents)


def _extents_in(table: bytes) -> list[Extent]:
    pairs = (table[position : position + 24] for position in range(0, len(table), 24))
    return [
        Extent(parse_number(pair[:12]), parse_number(pair[12:]))
        for pair in pairs
        if pair.strip(b"\0")
    ]


def pax_sparse(
    stream: Stream, records: Mapping[bytes, bytes], stored: int
) -> tuple[tuple[Extent, ...], int]:
    """The extents and the true size: formats 0.0 and 0.1 have them in the header, 1.0 before the
    content."""
    size = parse_decimal(
        records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size") or b""
    )
    if records.get(b"GNU.sparse.major") == b"1":
        numbers = _numbers_before_content(stream, stored)
    else:
        text = records.get(b"GNU.sparse.map", b"")
        numbers = [parse_decimal(number) for number in text.split(b",")] if text else []
    if len(numbers) % 2:
        raise corrupt("has a sparse file with half an extent")
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return tuple(Extent(offset, length) for offset, length in pairs), size


def _numbers_before_content(stream: Stream, stored: int) -> list[int]:
    """How many extents, and their numbers, a line each, in whole blocks."""
    text = b""
    wanted = 1
    while (lines := text.count(b"\n")) < wanted:
        if len(text) >= stored:
            raise truncated()
        text += stream.read(BLOCK)
        if lines == 0 and b"\n" in text:
            wanted = 1 + 2 * parse_decimal(text.partition(b"\n")[0])
    return [parse_decimal(line) for line in text.split(b"\n")[1:wanted]]


def check_extents(extents: tuple[Extent, ...], size: int, stored: int) -> None:
    """Raise DamagedImage unless the pieces follow each other within the file, and are there."""
    end = 0
    for extent in extents:
        if extent.offset < end or extent.offset + extent.length > size:
            raise corrupt("has a sparse file whose pieces do not fit")
        end = extent.offset + extent.length
    if sum(extent.length for extent in extents) > stored:
        raise corrupt("has a sparse file with pieces that are not there")
