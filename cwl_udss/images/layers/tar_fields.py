# SPDX-License-Identifier: Apache-2.0
"""Fields of tar headers, and extended records: bytes in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from isal import isal_zlib

from cwl_udss.errors import DamagedImage, InvalidImage

BLOCK = 512
_XATTR = b"SCHILY.xattr."


def check_sum(block: bytes) -> None:
    """Raise DamagedImage if a header has not the checksum that it says."""
    if not has_right_sum(block):
        raise corrupt("has a header with a wrong checksum")


def has_right_sum(block: bytes) -> bool:
    """Say whether a block has the checksum of a header."""
    total = _sum(block) - sum(block[148:156]) + 8 * ord(" ")
    try:
        stored = parse_number(block[148:156])
    except (InvalidImage, IndexError):  # there is none
        return False
    if stored == total:
        return True
    # Some old writers added up signed characters.
    return stored == total - 256 * sum(1 for byte in block[:148] + block[156:] if byte > 127)


def _sum(block: bytes) -> int:
    """The sum of a header's bytes. One of the two in an Adler-32 (RFC 1950) is 1 more, modulo
    65521, which that of half a block cannot reach; to add them up takes longer than all else here.
    """
    first = isal_zlib.adler32(block[: BLOCK // 2]) & 0xFFFF
    second = isal_zlib.adler32(block[BLOCK // 2 :]) & 0xFFFF
    return first + second - 2


@lru_cache(maxsize=1024)  # many members have the same mode, time and size
def parse_number(field: bytes) -> int:
    """An octal number, or GNU's base 256 for what is too large for that."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        return value if field[0] == 0x80 else 0  # negative: only ever a time before 1970
    text = field.strip(b" \0").partition(b"\0")[0].strip()
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise corrupt("has a header with no number where one must be") from None


def ustar_path(block: bytes) -> bytes:
    """Return a member's path as the header itself has it."""
    name = block[:100].partition(b"\0")[0]
    # GNU's own format has other fields where ustar has the prefix.
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].partition(b"\0")[0]
        return prefix + b"/" + name if prefix else name
    return name


def stored_size(block: bytes, records: Mapping[bytes, bytes]) -> int:
    """Return how many bytes of content follow."""
    text = records.get(b"size")
    return parse_decimal(text) if text is not None else parse_number(block[124:136])


def modification_time(text: bytes | None, block: bytes) -> float:
    """Return a member's time: of its extended records (`text`), else the header's."""
    if text is None:
        return parse_number(block[136:148])
    try:
        return float(text)
    except ValueError:
        raise corrupt("has a time that is none") from None


def pax_records(content: bytes) -> dict[bytes, bytes]:
    """Lines of "LENGTH KEY=VALUE". The repeated keys of GNU sparse 0.0 are put together."""
    records: dict[bytes, bytes] = {}
    map_numbers: list[bytes] = []
    position = 0
    while position < len(content):
        space = content.find(b" ", position, position + 20)
        length = parse_decimal(content[position:space]) if space > 0 else 0
        record = content[space + 1 : position + length]
        key, equals, value = record[:-1].partition(b"=")
        complete = len(record) == position + length - space - 1 and record.endswith(b"\n")
        if not complete or not equals:
            if not content[position:].strip(b"\0"):
                break
            raise corrupt("has a malformed extended header")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            map_numbers.append(value)
        records[key] = value
        position += length
    if map_numbers:
        records[b"GNU.sparse.map"] = b",".join(map_numbers)
    return records


def attributes(records: Mapping[bytes, bytes]) -> dict[str, bytes]:
    """Return the extended attributes that are among extended records."""
    return {
        key[len(_XATTR) :].decode("utf-8", "surrogateescape"): value
        for key, value in records.items()
        if key.startswith(_XATTR)
    }


def parse_decimal(text: bytes) -> int:
    """Return a number of an extended record. Raises DamagedImage."""
    if not text.isdigit() or len(text) > 20:
        raise corrupt("has a header with no number where one must be")
    return int(text)


def corrupt(problem: str) -> DamagedImage:
    """Return what is to be raised for a layer whose tar is damaged."""
    return DamagedImage(f"a layer {problem}", "the image is damaged: have it pushed again")
