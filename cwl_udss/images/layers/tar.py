# SPDX-License-Identifier: Apache-2.0
"""Reads a layer's tar headers as they stream by, and passes on the contents.

Python's tarfile ends silently at a corrupt header that is not the first, and is slow. The formats:
POSIX pax(1) (ustar and its extended headers), and GNU tar's manual, "Basic Tar Format" and "Storing
Sparse Files". Names are bytes from end to end.
"""

from __future__ import annotations

import enum
import hashlib
import itertools
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from isal import isal_zlib

from cwl_udss.errors import DamagedImage, InvalidImage
from cwl_udss.images.layers.compression import decompress
from cwl_udss.images.layers.file_kinds import LONGEST_BEGINNING, FileKind, identify
from cwl_udss.images.layers.read_ahead import read_ahead
from cwl_udss.images.layers.stream import Stream, truncated

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_XATTR = b"SCHILY.xattr."
_BATCH = 500
_NO_ATTRIBUTES: Mapping[str, bytes] = {}  # one for all: a layer has many thousand members


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What no honest layer exceeds; memory and time are bounded by these."""

    entries: int = 5_000_000
    uncompressed_bytes: int = 1 << 38
    extended_header_bytes: int = 1 << 20


class Kind(enum.Enum):
    """What a member is."""

    FILE = enum.auto()
    DIRECTORY = enum.auto()
    SYMBOLIC_LINK = enum.auto()
    HARD_LINK = enum.auto()
    OTHER = enum.auto()
    """A device, a pipe, or something of one vendor's tar."""


class Extent(NamedTuple):
    """A piece of a sparse file that is not a hole, in bytes of the file."""

    offset: int
    length: int


class Member(NamedTuple):
    """A header, with where its content is. A tuple, because a layer has many thousands."""

    path: bytes
    kind: Kind
    mode: int
    mtime: float
    size: int
    """Of the file, with its holes."""
    offset: int
    """Of the content in the uncompressed layer."""
    link: bytes
    extents: tuple[Extent, ...] | None
    """Only of a sparse file; its extents follow each other in the layer."""
    attributes: Mapping[str, bytes]
    """Extended attributes."""

    @property
    def stored(self) -> int:
        """Bytes of the content: of a sparse file without its holes."""
        if self.extents is None:
            return self.size
        return sum(extent.length for extent in self.extents)


@dataclass(frozen=True, kw_only=True)
class LayerIndex:
    """What a layer has in it."""

    diff_id: str
    """Digest of the uncompressed layer, "sha256:…"."""
    members: Iterable[Member]
    number: int
    """Tells it from the others that were read. An image may have the same layer in several places.
    """
    is_followed: bool
    """Whether there is anything but zeros behind its end, which tar(1) does not read either."""


class NoTar(InvalidImage):
    """A layer that is something else."""

    def __init__(self, kind: FileKind | None) -> None:
        """`kind` is None if nobody knows what."""
        what = f"{kind.name}, and no tar" if kind else "no tar"
        super().__init__(f"a layer is {what}", "have it made again")
        self.kind = kind


class PackedMembers:
    """Members in their order, to be gone through: in memory, but packed to a tenth, as there may be
    hundreds of thousands that wait for all other layers to be read."""

    def __init__(self, members: Iterable[Member]) -> None:
        self._batches: list[bytes] = []
        self._length = 0
        remaining = iter(members)
        while batch := list(itertools.islice(remaining, _BATCH)):
            self._length += len(batch)
            self._batches.append(isal_zlib.compress(pickle.dumps(batch), level=0))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Member]:
        for batch in self._batches:
            # What has been pickled just now, by ourselves.
            yield from pickle.loads(isal_zlib.decompress(batch))  # noqa: S301


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
    block = beginning[:_BLOCK]
    is_end = not beginning[: 2 * _BLOCK].strip(b"\0")
    return is_end or block[257:262] == b"ustar" or _has_right_sum(block)


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
        missing = -end % _BLOCK
        if 0 < len(stream.read(missing)) < missing:
            raise truncated()
        yield member


def _next_header(
    stream: Stream, limits: Limits, common: dict[bytes, bytes]
) -> tuple[bytes, dict[bytes, bytes]] | None:
    """The next header of a member, and the extended records for it; None at the end."""
    records = dict(common) if common else {}
    while True:
        block = stream.read(_BLOCK)
        if not block:
            return None  # without the two zero blocks: some writers leave them out
        if len(block) < _BLOCK:
            raise truncated()
        if block == _ZEROS:
            if stream.read(_BLOCK).strip(b"\0"):
                raise _corrupt("has a zero block in the middle")
            return None
        _check_sum(block)
        flag = block[156:157]
        if flag in _REFUSED or b"GNU.volume.offset" in records:
            what = _REFUSED.get(flag, _CONTINUED)
            raise InvalidImage(f"a layer has {what}", "have it made again as one whole tar")
        if flag == _LABEL:
            records = dict(common)
            continue
        if flag not in b"xXgLK":
            return block, records
        content = _extended_content(stream, _number(block[124:136]), limits)
        if flag in b"xX":
            records.update(_pax_records(content))
        elif flag == b"g":
            common.update(_pax_records(content))
            records = {**common, **records}
        else:  # GNU's long names; PAX's, if there are both, are more precise
            key = b"path" if flag == b"L" else b"linkpath"
            records.setdefault(key, content.partition(b"\0")[0])


def _member(stream: Stream, block: bytes, records: dict[bytes, bytes]) -> tuple[Member, int]:
    """What a header says, up to its content, and where that ends."""
    flag = block[156:157]
    path = records.get(b"path") or _ustar_path(block)
    if flag == b"\0" and path.endswith(b"/"):
        flag = b"5"  # libarchive's tar(5), "Old-Style Archive Format": there is no other sign
    kind = _KINDS.get(flag, Kind.OTHER)
    # Types that are a header only have no content, whatever size they name (as Go's archive/tar).
    header_only = flag in _HEADER_ONLY
    stored = 0 if header_only else _stored_size(block, records)
    extents: tuple[Extent, ...] | None = None
    size = stored
    if flag == b"S":
        extents, size = _old_sparse(stream, block), _number(block[483:495])
    start = stream.offset
    end = start + stored
    if kind is Kind.FILE and flag != b"S" and any(k.startswith(b"GNU.sparse.") for k in records):
        path = records.get(b"GNU.sparse.name") or path
        extents, size = _pax_sparse(stream, records, stored)
        stored -= stream.offset - start
    if extents is not None:
        _check_extents(extents, size, stored)
    member = Member(
        path=path,
        kind=kind,
        mode=_number(block[100:108]),
        mtime=_time(records.get(b"mtime"), block),
        size=size,
        offset=stream.offset,
        link=records.get(b"linkpath") or block[157:257].partition(b"\0")[0],
        extents=extents,
        attributes=_attributes(records) or _NO_ATTRIBUTES,
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


def _check_sum(block: bytes) -> None:
    if not _has_right_sum(block):
        raise _corrupt("has a header with a wrong checksum")


def _has_right_sum(block: bytes) -> bool:
    total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    try:
        stored = _number(block[148:156])
    except (InvalidImage, IndexError):  # there is none
        return False
    if stored == total:
        return True
    # Some old writers added up signed characters.
    return stored == total - 256 * sum(1 for byte in block[:148] + block[156:] if byte > 127)


def _number(field: bytes) -> int:
    """An octal number, or GNU's base 256 for what is too large for that."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        return value if field[0] == 0x80 else 0  # negative: only ever a time before 1970
    text = field.strip(b" \0").partition(b"\0")[0].strip()
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise _corrupt("has a header with no number where one must be") from None


def _ustar_path(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    # GNU's own format has other fields where ustar has the prefix.
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].partition(b"\0")[0]
        return prefix + b"/" + name if prefix else name
    return name


def _stored_size(block: bytes, records: Mapping[bytes, bytes]) -> int:
    text = records.get(b"size")
    return _decimal(text) if text is not None else _number(block[124:136])


def _time(text: bytes | None, block: bytes) -> float:
    if text is None:
        return _number(block[136:148])
    try:
        return float(text)
    except ValueError:
        raise _corrupt("has a time that is none") from None


def _extended_content(stream: Stream, size: int, limits: Limits) -> bytes:
    if size > limits.extended_header_bytes:
        raise InvalidImage(f"a layer has a header of {size} bytes", "it may be meant to do harm")
    content = stream.read(size)
    if len(content) < size:
        raise truncated()
    stream.skip_to(stream.offset + -size % _BLOCK)
    return content


def _pax_records(content: bytes) -> dict[bytes, bytes]:
    """Lines of "LENGTH KEY=VALUE". The repeated keys of GNU sparse 0.0 are put together."""
    records: dict[bytes, bytes] = {}
    map_numbers: list[bytes] = []
    position = 0
    while position < len(content):
        space = content.find(b" ", position, position + 20)
        length = _decimal(content[position:space]) if space > 0 else 0
        record = content[space + 1 : position + length]
        key, equals, value = record[:-1].partition(b"=")
        complete = len(record) == position + length - space - 1 and record.endswith(b"\n")
        if not complete or not equals:
            if not content[position:].strip(b"\0"):
                break
            raise _corrupt("has a malformed extended header")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            map_numbers.append(value)
        records[key] = value
        position += length
    if map_numbers:
        records[b"GNU.sparse.map"] = b",".join(map_numbers)
    return records


def _attributes(records: Mapping[bytes, bytes]) -> dict[str, bytes]:
    return {
        key[len(_XATTR) :].decode("utf-8", "surrogateescape"): value
        for key, value in records.items()
        if key.startswith(_XATTR)
    }


def _old_sparse(stream: Stream, block: bytes) -> tuple[Extent, ...]:
    """GNU's type S: four extents in the header, 21 in each extension block."""
    extents = _extents_in(block[386:482])
    more = block[482]
    while more:
        extension = stream.read(_BLOCK)
        if len(extension) < _BLOCK:
            raise truncated()
        extents += _extents_in(extension[:504])
        more = extension[504]
    return tuple(extents)


def _extents_in(table: bytes) -> list[Extent]:
    pairs = (table[position : position + 24] for position in range(0, len(table), 24))
    return [Extent(_number(pair[:12]), _number(pair[12:])) for pair in pairs if pair.strip(b"\0")]


def _pax_sparse(
    stream: Stream, records: Mapping[bytes, bytes], stored: int
) -> tuple[tuple[Extent, ...], int]:
    """The extents and the true size: formats 0.0 and 0.1 have them in the header, 1.0 before the
    content."""
    size = _decimal(records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size") or b"")
    if records.get(b"GNU.sparse.major") == b"1":
        numbers = _numbers_before_content(stream, stored)
    else:
        text = records.get(b"GNU.sparse.map", b"")
        numbers = [_decimal(number) for number in text.split(b",")] if text else []
    if len(numbers) % 2:
        raise _corrupt("has a sparse file with half an extent")
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return tuple(Extent(offset, length) for offset, length in pairs), size


def _numbers_before_content(stream: Stream, stored: int) -> list[int]:
    """How many extents, and their numbers, a line each, in whole blocks."""
    text = b""
    wanted = 1
    while (lines := text.count(b"\n")) < wanted:
        if len(text) >= stored:
            raise truncated()
        text += stream.read(_BLOCK)
        if lines == 0 and b"\n" in text:
            wanted = 1 + 2 * _decimal(text.partition(b"\n")[0])
    return [_decimal(line) for line in text.split(b"\n")[1:wanted]]


def _check_extents(extents: tuple[Extent, ...], size: int, stored: int) -> None:
    end = 0
    for extent in extents:
        if extent.offset < end or extent.offset + extent.length > size:
            raise _corrupt("has a sparse file whose pieces do not fit")
        end = extent.offset + extent.length
    if sum(extent.length for extent in extents) > stored:
        raise _corrupt("has a sparse file with pieces that are not there")


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise _corrupt("has a header with no number where one must be")
    return int(text)


def _corrupt(problem: str) -> DamagedImage:
    return DamagedImage(f"a layer {problem}", "the image is damaged: have it pushed again")


def _too_large() -> InvalidImage:
    return InvalidImage("a layer is larger than any image", "it may be meant to fill disks")
