# SPDX-License-Identifier: Apache-2.0
"""Decompresses layers, whatever their media type calls them, in pieces of bounded size."""

from __future__ import annotations

import bz2
import itertools
import lzma
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from isal import igzip_lib

from cwl_udss.errors import InvalidImage

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LONGEST_MAGIC = 4
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte 0x50 to 0x5f: zstd_compression_format.md
_XZ = b"\xfd7zX"
_BZIP2 = b"BZh"
_OTHERS = {b"<": "a web page", b"{": "JSON"}
_PIECE_BYTES = 1 << 20
_WINDOW_LOG = 27  # what the zstd command accepts without being told otherwise


# bz2 raises OSError; isal's stub declares its exception as an instance.
_DAMAGE: tuple[type[Exception], ...] = (
    igzip_lib.IsalError,  # type: ignore[assignment]
    zstd.ZstdError,
    lzma.LZMAError,
    OSError,
    ValueError,
)


class _Decompressor(Protocol):
    """What isal's and zstd's decompressors, and the standard library's, have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the uncompressed bytes of a tar in gzip, zstd, xz, bzip2 or none of them, told by its
    first bytes (Docker takes all of these for layers and archives).

    All of `chunks` is read. Raises InvalidImage for anything else, and for damaged data.
    """
    iterator = iter(chunks)
    beginning = b""
    while len(beginning) < LONGEST_MAGIC and (chunk := next(iterator, None)) is not None:
        beginning += chunk
    stream = itertools.chain([beginning], iterator)
    compression = _compression(beginning)
    if compression is not None:
        return _decompress(stream, *compression)
    for magic, name in _OTHERS.items():
        if beginning.startswith(magic):
            raise InvalidImage(f"a layer is {name}, and no tar", "have it made again")
    return stream


def is_compressed(beginning: bytes) -> bool:
    """Say whether decompress() would change what begins so (LONGEST_MAGIC bytes are enough)."""
    return _compression(beginning) is not None


def _compression(beginning: bytes) -> tuple[Callable[[], _Decompressor], str] | None:
    if beginning.startswith(_GZIP):
        return _gzip_member, "gzip"
    if beginning.startswith(_ZSTD) or beginning[1:4] == _ZSTD_SKIPPABLE:
        return _zstd_frame, "zstd"
    if beginning.startswith(_XZ):
        return lzma.LZMADecompressor, "xz"
    if beginning.startswith(_BZIP2):
        return bz2.BZ2Decompressor, "bzip2"
    return None


def _gzip_member() -> _Decompressor:
    return igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)


def _zstd_frame() -> _Decompressor:
    limit: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
    decompressor: _Decompressor = zstd.ZstdDecompressor(options=limit)
    return decompressor


def _decompress(
    chunks: Iterator[bytes], start: Callable[[], _Decompressor], name: str
) -> Iterator[bytes]:
    """Decompress members one after the other: a gzip file may have several (RFC 1952, 2.2; stargz
    layers do), and so may a zstd file have frames."""
    current: _Decompressor | None = None
    for chunk in chunks:
        data = chunk
        while data or (current and not current.needs_input and not current.eof):
            if current is None:
                data = data.lstrip(b"\0")  # padding after the last member is harmless
                if not data:
                    break
                current = start()
            try:
                piece = current.decompress(data, _PIECE_BYTES)
            except _DAMAGE as error:
                raise InvalidImage(f"a layer is damaged {name}", "have it made again") from error
            if piece:
                yield piece
            data = b""
            if current.eof:
                data, current = current.unused_data, None
    if current is not None:
        raise InvalidImage(f"a layer ends in the middle of {name}", "have it made again")
