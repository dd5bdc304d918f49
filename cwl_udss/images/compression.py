# SPDX-License-Identifier: Apache-2.0
"""Decompresses layers, whatever their media type calls them, in pieces of bounded size."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from isal import igzip_lib

from cwl_udss.errors import InvalidImage

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte 0x50 to 0x5f: zstd_compression_format.md
_OTHERS = {b"\xfd7zXZ": "xz", b"BZh": "bzip2", b"<": "a web page", b"{": "JSON"}
_PIECE_BYTES = 1 << 20
_WINDOW_LOG = 27  # what the zstd command accepts without being told otherwise


class _Decompressor(Protocol):
    """What isal's and zstd's decompressors, and the standard library's, have in common."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the uncompressed bytes of a layer in gzip, zstd or plain tar, told by its first bytes.

    All of `chunks` is read. Raises InvalidImage for anything else, and for damaged data.
    """
    iterator = iter(chunks)
    beginning = b""
    while len(beginning) < 4 and (chunk := next(iterator, None)) is not None:
        beginning += chunk
    stream = itertools.chain([beginning], iterator)
    if beginning.startswith(_GZIP):
        return _decompress(stream, _gzip_member, "gzip")
    if beginning.startswith(_ZSTD) or beginning[1:4] == _ZSTD_SKIPPABLE:
        return _decompress(stream, _zstd_frame, "zstd")
    for magic, name in _OTHERS.items():
        if beginning.startswith(magic):
            raise InvalidImage(f"a layer is {name}, not gzip, zstd or tar", "have it pushed again")
    return stream


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
            # isal's stub declares its exception as an instance.
            except (igzip_lib.IsalError, zstd.ZstdError, ValueError) as error:  # type: ignore[misc]
                raise InvalidImage(f"a layer is damaged {name}", "have it pushed again") from error
            if piece:
                yield piece
            data = b""
            if current.eof:
                data, current = current.unused_data, None
    if current is not None:
        raise InvalidImage(f"a layer ends in the middle of {name}", "have it pushed again")
