# SPDX-License-Identifier: Apache-2.0
"""Decompresses layers, whatever their media type calls them, in pieces of bounded size.

What the data refer back to is in memory, too: some MiB for most, up to 2 GiB for what `zstd
--long=31` has made.
"""

from __future__ import annotations

import bz2
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

from isal import igzip_lib

from cwl_udss.errors import DamagedImage, InvalidImage

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# A Python that was built where liblzma's headers were not has none: pyenv's, often.
lzma = import_module("lzma") if find_spec("_lzma") else None

LONGEST_MAGIC = 5
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte 0x50 to 0x5f: zstd_compression_format.md
_XZ = b"\xfd7zX"
_BZIP2 = b"BZh"
_LZMA = (
    b"\x5d\0\0"  # lzma-file-format.txt: what all encoders write for lc, lp, pb; a tar has a name
)
_PIECE_BYTES = 1 << 20
# zstd's own limit, of `zstd --long=31`: Docker and Podman take such layers and files, too. Only the
# command takes no more than 27 without being told.
_WINDOW_LOG = 31 if sys.maxsize > 1 << 32 else 30
_MOST_MEMORY = 1 << _WINDOW_LOG  # of xz and lzma, which have no such limit; 65 MiB at their best
# zstd_errors.h, frameParameter_windowTooLarge; CPython's _lzmamodule.c: there is no other sign.
_TOO_LARGE = ("requires too much memory", "Memory usage limit exceeded")
_DAMAGED_ADVICE = "the image is damaged: have it made again"


# bz2 raises OSError; isal's stub declares its exception as an instance.
_DAMAGE: tuple[type[Exception], ...] = (
    igzip_lib.IsalError,  # type: ignore[arg-type]
    zstd.ZstdError,
    OSError,
    ValueError,
    *(() if lzma is None else (lzma.LZMAError,)),
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
    """Yield the uncompressed bytes of what is in gzip, zstd, xz, lzma, bzip2 or none of them, told
    by its first bytes (Docker takes nearly all of these for layers and archives).

    All of `chunks` is read. Raises InvalidImage for damaged data.
    """
    iterator = iter(chunks)
    beginning = b""
    while len(beginning) < LONGEST_MAGIC and (chunk := next(iterator, None)) is not None:
        beginning += chunk
    stream = itertools.chain([beginning], iterator)
    compression = _compression(beginning)
    return stream if compression is None else _decompress(stream, *compression)


def compression_name(beginning: bytes) -> str:
    """Return what decompress() would undo of what begins so (LONGEST_MAGIC bytes are enough), ""
    for nothing."""
    compression = _compression(beginning)
    return "" if compression is None else compression[1]


def _compression(beginning: bytes) -> tuple[Callable[[], _Decompressor], str] | None:
    if beginning.startswith(_GZIP):
        return _gzip_member, "gzip"
    if beginning.startswith(_ZSTD) or beginning[1:4] == _ZSTD_SKIPPABLE:
        return _zstd_frame, "zstd"
    if beginning.startswith(_XZ):
        return partial(_xz, "FORMAT_XZ"), "xz"
    if beginning.startswith(_BZIP2):
        return bz2.BZ2Decompressor, "bzip2"
    # The size of the dictionary comes next: at least 4 KiB.
    if beginning.startswith(_LZMA) and any(beginning[3:LONGEST_MAGIC]):
        return partial(_xz, "FORMAT_ALONE"), "lzma"
    return None


def _gzip_member() -> _Decompressor:
    return igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)


def _xz(name: str) -> _Decompressor:
    if lzma is None:
        raise InvalidImage(
            "it is compressed with xz, and this Python was built without the module lzma",
            "install cwl-udss with another",
        )
    decompressor: _Decompressor = lzma.LZMADecompressor(getattr(lzma, name), _MOST_MEMORY)
    return decompressor


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
                raise _unreadable(name, error) from error
            if piece:
                yield piece
            data = b""
            if current.eof:
                data, current = current.unused_data, None
    if current is not None:
        raise DamagedImage(f"a layer ends in the middle of {name}", _DAMAGED_ADVICE)


def _unreadable(name: str, error: Exception) -> InvalidImage:
    if any(sign in str(error) for sign in _TOO_LARGE):
        return InvalidImage(
            f"a layer is {name} that needs more than {_MOST_MEMORY >> 30} GiB of memory",
            "have it packed with a smaller window or dictionary",
        )
    return DamagedImage(f"a layer is damaged {name}", _DAMAGED_ADVICE)
