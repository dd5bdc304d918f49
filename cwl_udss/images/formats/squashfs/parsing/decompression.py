# SPDX-License-Identifier: Apache-2.0
"""Undoes the compression of a SquashFS file's blocks. What it has to know is in each block: not
the options that mksquashfs has noted, but for what has made them (xz' filters, LZO's levels)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from isal import isal_zlib

from cwl_udss.images.formats.squashfs.parsing.damage import Malformed, NotRead
from cwl_udss.images.layers.compression import lzma

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Decompress = Callable[[bytes, int], bytes]
"""From compressed bytes to at most so many. Raises Malformed; it may be called in threads."""

_GZIP, _LZMA, _LZO, _XZ, _LZ4, _ZSTD = range(1, 7)
# No block is larger than 1 MiB, and no window need be; zstd's default would be 128 MiB.
_WINDOW_LOG = 23
_MOST_MEMORY = 64 << 20  # of xz: what its largest window for such blocks needs, many times


def check_compression(number: int) -> None:
    """Raise NotRead or Malformed for a compression, by its number in the superblock, that nobody
    undoes."""
    if number == _LZMA:
        raise NotRead(
            "a SquashFS file compressed with lzma, which Linux cannot mount either",
            "make it again with another compression: mksquashfs -comp zstd",
        )
    if number not in _MADE:
        raise Malformed("of no compression that there is")


def decompressor(number: int) -> Decompress:
    """Return what undoes a compression, by its number in the superblock. Raises NotRead, and
    Malformed."""
    check_compression(number)
    return _MADE[number]()


def _streamed(make: Callable[[], Any], damage: type[Exception]) -> Decompress:
    """By a decompressor of streams, one for each block."""

    def decompress(content: bytes, longest: int) -> bytes:
        stream = make()
        try:
            # One more shows that there are more.
            decompressed: bytes = stream.decompress(content, longest + 1)
        except (damage, EOFError, ValueError) as error:
            raise _undone(error) from error
        if len(decompressed) > longest or not stream.eof:
            raise Malformed("a block is longer or shorter than it may be")
        return decompressed

    return decompress


def _undone(error: Exception) -> Malformed:
    return Malformed(f"a block cannot be decompressed: {error}")


def _gzip() -> Decompress:
    # isal's stub declares its exception as an instance.
    return _streamed(isal_zlib.decompressobj, isal_zlib.IsalError)  # type: ignore[arg-type]


def _xz() -> Decompress:
    if lzma is None:
        raise NotRead(
            "compressed with xz, and this Python was built without the module lzma",
            "install cwl-udss with another",
        )
    return _streamed(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _MOST_MEMORY), lzma.LZMAError)


def _zstd() -> Decompress:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
    return _streamed(lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError)


def _lzo() -> Decompress:
    lzallright = _module("lzallright", "lzo")

    def decompress(content: bytes, longest: int) -> bytes:
        try:
            decompressed: bytes = lzallright.LZOCompressor.decompress(content, longest)
        except lzallright.LZOError as error:
            raise _undone(error) from error
        # It has no limit; but LZO makes of a byte no more than 255.
        if len(decompressed) > longest:
            raise Malformed("a block is longer than it may be")
        return decompressed

    return decompress


def _lz4() -> Decompress:
    cramjam = _module("cramjam", "lz4")

    def decompress(content: bytes, longest: int) -> bytes:
        buffer = bytearray(longest)
        try:
            size = cramjam.lz4.decompress_block_into(content, buffer)
        except cramjam.DecompressionError as error:
            raise _undone(error) from error
        return bytes(memoryview(buffer)[:size])

    return decompress


def _module(name: str, compression: str) -> Any:
    """A package that is only for machines for which it is ready-made."""
    try:
        return import_module(name)
    except ImportError as error:
        raise NotRead(
            f"compressed with {compression}, for which the Python package {name} is not here",
            f"install it: pip install {name}",
        ) from error


_MADE: dict[int, Callable[[], Decompress]] = {
    _GZIP: _gzip,
    _LZO: _lzo,
    _XZ: _xz,
    _LZ4: _lz4,
    _ZSTD: _zstd,
}
