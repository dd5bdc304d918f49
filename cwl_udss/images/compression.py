# SPDX-License-Identifier: Apache-2.0
"""Decompresses layers, whatever their media type calls them, in pieces of bounded size."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import IO, cast

import zstandard
from isal import igzip_lib

from cwl_udss.errors import InvalidImage

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte 0x50 to 0x5f: zstd_compression_format.md
_OTHERS = {b"\xfd7zXZ": "xz", b"BZh": "bzip2", b"<": "a web page", b"{": "JSON"}
_PIECE_BYTES = 1 << 20
_WINDOW_BYTES = 1 << 27  # what the zstd command accepts without being told otherwise


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
        return _gunzip(stream)
    if beginning.startswith(_ZSTD) or beginning[1:4] == _ZSTD_SKIPPABLE:
        return _unzstd(stream)
    for magic, name in _OTHERS.items():
        if beginning.startswith(magic):
            raise InvalidImage(f"a layer is {name}, not gzip, zstd or tar", "have it pushed again")
    return stream


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """A gzip file may have several members (RFC 1952, 2.2), as stargz layers have."""
    decompressor: igzip_lib.IgzipDecompressor | None = None
    for chunk in chunks:
        data = chunk
        while data or (decompressor and not decompressor.needs_input and not decompressor.eof):
            if decompressor is None:
                data = data.lstrip(b"\0")  # padding after the last member is harmless
                if not data:
                    break
                decompressor = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)
            try:
                piece = decompressor.decompress(data, _PIECE_BYTES)
            # isal's stub declares the exception as an instance.
            except (igzip_lib.IsalError, ValueError) as error:  # type: ignore[misc]
                raise InvalidImage("a layer is damaged gzip", "have it pushed again") from error
            if piece:
                yield piece
            data = b""
            if decompressor.eof:
                data, decompressor = decompressor.unused_data, None
    if decompressor is not None:
        raise InvalidImage("a layer ends in the middle of gzip", "have it pushed again")


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
    source = cast("IO[bytes]", _Reader(chunks))  # of a file, zstandard only calls read()
    reader = decompressor.stream_reader(source, read_across_frames=True)
    try:
        while piece := reader.read(_PIECE_BYTES):
            yield piece
    except zstandard.ZstdError as error:
        raise InvalidImage("a layer is damaged zstd", "have it pushed again") from error


class _Reader:
    """An iterator of bytes as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
