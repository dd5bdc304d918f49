# SPDX-License-Identifier: Apache-2.0
"""Reads a layer's tar headers as they stream by, and passes on the contents.

Python's tarfile ends silently at a corrupt header that is not the first, and is slow. The formats:
POSIX pax(1) (ustar and its extended headers), and GNU tar's manual, "Basic Tar Format" and "Storing
Sparse Files". Names are bytes from end to end.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from cwl_udss.errors import InvalidImage
from cwl_udss.images.layers.compression import decompress
from cwl_udss.images.layers.file_kinds import LONGEST_BEGINNING, FileKind, identify
from cwl_udss.images.layers.members import Extent, Kind, LayerIndex, Member, PackedMembers
from cwl_udss.images.layers.read_ahead import read_ahead
from cwl_udss.images.layers.sparse import check_extents, old_sparse, pax_sparse
from cwl_udss.images.layers.stream import Stream, truncated
from cwl_udss.images.layers.tar_fields import (
    BLOCK,
    attributes,
    check_sum,
    corrupt,
    has_right_sum,
    modification_time,
    parse_number,
    pax_records,
    stored_size,
    ustar_path,
)

_ZEROS = bytes(BLOCK)
_NO_ATTRIBUTES: Mapping[str, bytes] = {}  # one for all: a layer has many thousand members


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What no honest layer exceeds; memory and time are bounded by these."""

    entries: int = 5_000_000
    uncompressed_bytes: int = 1 << 38
    extended_header_bytes: int = 1 << 20


class NoTar(InvalidImage):
    """A layer that is something else."""

    def __init__(self, kind: FileKind | None) -> None:
        """`kind` is None if nobody knows what."""
        what = f"{kind.name}, and no tar" if kind else "no tar"
        super().__init__(f"a layer is {what}", "have it made again")
        self.kind = kind


Take = Callable[[Member, Iterator[memoryview]], None]
"""Is given each regular file, and its content (without holes) in pieces, which need not be read."""


def index_layer(
    chunks: Iterable[bytes],
    limits: Limits | None = None,
    *,
    number: int = 0,
    take: Take | None = None,
) -> LayerIndex:
    """Read a compressed layer to its end, decompressing, checksum and the rest side by side.

    Raises InvalidImage if it is no tar (NoTar), damaged, or too large, and what `take` raises.
    """
    with (
        read_ahead(chunks) as compressed,
        read_ahead(decompress(compressed)) as uncompressed,
    ):
        return index_tar(uncompressed, limits, number=number, take=take)


def index_tar(
    chunks: Iterable[bytes],
    limits: Limits | None = None,
    *,
    number: int = 0,
    take: Take | None = None,
) -> LayerIndex:
    """Do the same with what is uncompressed."""
    limits = limits or Limits()
    checksum = hashlib.sha256()
    with read_ahead(_checked(chunks, checksum, limits)) as layer:
        beginning = _beginning(layer)
        if not _may_be_tar(beginning):
            raise NoTar(identify(beginning))
        stream = Stream(itertools.chain([beginning], layer))
        members = PackedMembers(_members(stream, limits, take))
        # Padding is part of the whole, which is read to its end.
        is_followed = sum(piece.tobytes().strip(b"\0") != b"" for piece in stream.rest()) > 0
    if is_followed and not len(members):  # filesystems begin with zeros, as an empty tar
        raise NoTar(identify(beginning))
    return LayerIndex(
        diff_id=f"sha256:{checksum.hexdigest()}",
        members=members,
        number=number,
        is_followed=is_followed,
    )


def _beginning(chunks: Iterator[bytes]) -> bytes:
    """What says what it is, and what has come with it."""
    beginning = bytearray()
    while len(beginning) < LONGEST_BEGINNING and (chunk := next(chunks, None)) is not None:
        beginning += chunk
    return bytes(beginning)


def _may_be_tar(beginning: bytes) -> bool:
    """Whether there is a header, the end, or nothing at all. A header that looks like one but for
    its checksum is of a tar that is damaged."""
    block = beginning[:BLOCK]
    is_end = not beginning[: 2 * BLOCK].strip(b"\0")
    return is_end or block[257:262] == b"ustar" or has_right_sum(block)


def _checked(chunks: Iterable[bytes], checksum: hashlib._Hash, limits: Limits) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limits.uncompressed_bytes:
            raise _too_large()
        checksum.update(chunk)
        yield chunk


def _members(stream: Stream, limits: Limits, take: Take | None) -> Iterator[Member]:
    common: dict[bytes, bytes] = {}
    number = size = 0
    while (extended := _next_header(stream, limits, common)) is not None:
        number += 1
        if number > limits.entries:
            raise InvalidImage(
                f"a layer has more than {limits.entries} entries", "it may be meant to do harm"
            )
        member, end = _member(stream, *extended)
        size += member.size
        if size > limits.uncompressed_bytes:  # with holes, which are read like anything else
            raise _too_large()
        if take is not None and member.kind is Kind.FILE:
            take(member, stream.pieces(member.stored))
        stream.skip_to(end)
        # Writers that do not end a tar leave out all of the last padding (Go's archive/tar without
        # Close, so `umoci insert`), and readers in Go take it so.
        missing = -end % BLOCK
        if missing and 0 < len(stream.read(missing)) < missing:
            raise truncated()
        yield member


def _next_header(
    stream: Stream, limits: Limits, common: dict[bytes, bytes]
) -> tuple[bytes, dict[bytes, bytes]] | None:
    """The next header of a member, and the extended records for it; None at the end."""
    records = dict(common) if common else {}
    while True:
        block = stream.read(BLOCK)
        if not block:
            return None  # without the two zero blocks: some writers leave them out
        if len(block) < BLOCK:
            raise truncated()
        if block == _ZEROS:
            if stream.read(BLOCK).strip(b"\0"):
                raise corrupt("has a zero block in the middle")
            return None
        check_sum(block)
        flag = block[156:157]
        if flag in _REFUSED or b"GNU.volume.offset" in records:
            what = _REFUSED.get(flag, _CONTINUED)
            raise InvalidImage(f"a layer has {what}", "have it made again as one whole tar")
        if flag == _LABEL:
            records = dict(common)
            continue
        if flag not in b"xXgLK":
            return block, records
        content = _extended_content(stream, parse_number(block[124:136]), limits)
        if flag in b"xX":
            records.update(pax_records(content))
        elif flag == b"g":
            common.update(pax_records(content))
            records = {**common, **records}
        else:  # GNU's long names; PAX's, if there are both, are more precise
            key = b"path" if flag == b"L" else b"linkpath"
            records.setdefault(key, content.partition(b"\0")[0])


def _member(stream: Stream, block: bytes, records: dict[bytes, bytes]) -> tuple[Member, int]:
    """What a header says, up to its content, and where that ends."""
    flag = block[156:157]
    path = records.get(b"path") or ustar_path(block)
    if flag == b"\0" and path.endswith(b"/"):
        flag = b"5"  # libarchive's tar(5), "Old-Style Archive Format": there is no other sign
    kind = _KINDS.get(flag, Kind.OTHER)
    # Types that are a header only have no content, whatever size they name (as Go's archive/tar).
    header_only = flag in _HEADER_ONLY
    stored = 0 if header_only else stored_size(block, records)
    extents: tuple[Extent, ...] | None = None
    size = stored
    if flag == b"S":
        extents, size = old_sparse(stream, block), parse_number(block[483:495])
    start = stream.offset
    end = start + stored
    if (
        records
        and kind is Kind.FILE
        and flag != b"S"
        and any(key.startswith(b"GNU.sparse.") for key in records)
    ):
        path = records.get(b"GNU.sparse.name") or path
        extents, size = pax_sparse(stream, records, stored)
        stored -= stream.offset - start
    if extents is not None:
        check_extents(extents, size, stored)
    member = Member(
        path=path,
        kind=kind,
        mode=parse_number(block[100:108]),
        mtime=modification_time(records.get(b"mtime"), block),
        size=size,
        offset=stream.offset,
        link=records.get(b"linkpath") or block[157:257].partition(b"\0")[0],
        extents=extents,
        attributes=(records and attributes(records)) or _NO_ATTRIBUTES,
    )
    return member, end


_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"S": Kind.FILE,
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMBOLIC_LINK,
    b"5": Kind.DIRECTORY,
    b"D": Kind.DIRECTORY,  # of `tar --listed-incremental`: with a list of what was in it
}
_HEADER_ONLY = (b"1", b"2", b"3", b"4", b"5", b"6")
# GNU tar's manual, "Basic Tar Format".
_LABEL = b"V"  # the name of the whole, with `tar --label`
_CONTINUED = "the rest of a file of which another volume has the beginning (tar --multi-volume)"
_REFUSED = {b"M": _CONTINUED, b"N": "names as GNU tar wrote them before 1993"}


def _extended_content(stream: Stream, size: int, limits: Limits) -> bytes:
    if size > limits.extended_header_bytes:
        raise InvalidImage(f"a layer has a header of {size} bytes", "it may be meant to do harm")
    content = stream.read(size)
    if len(content) < size:
        raise truncated()
    stream.skip_to(stream.offset + -size % BLOCK)
    return content


def _too_large() -> InvalidImage:
    return InvalidImage("a layer is larger than any image", "it may be meant to fill disks")
