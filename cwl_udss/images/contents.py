# SPDX-License-Identifier: Apache-2.0
"""What the sinks share: file contents cut out of layers as these stream by, and the result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cwl_udss.errors import InvalidImage
from cwl_udss.images.compression import decompress
from cwl_udss.images.tree import RegularFile


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a sink has written."""

    entries: int
    bytes: int
    """Of a directory the sum of its files' sizes, of a SquashFS file its own."""
    digest: str = ""
    """ "sha256:…" of what is one file."""


class LayerContent:
    """A layer's uncompressed bytes, of which files are cut in the order of their offsets."""

    def __init__(self, read_layer: Callable[[int], Iterable[bytes]], layer: int) -> None:
        self._chunks = _uncompressed(read_layer, layer)
        self._chunk = memoryview(b"")
        self._position = 0  # in the layer, of the chunk's beginning
        self._offset = 0  # in the layer, of what comes next

    def read(self, file: RegularFile, length: int) -> Iterator[memoryview]:
        """The next `length` bytes of a file, in pieces. Raises InvalidImage if the layer ends."""
        self._offset = max(self._offset, file.offset)
        while length:
            while self._offset >= self._position + len(self._chunk):
                self._position += len(self._chunk)
                self._chunk = memoryview(self._next_chunk())
            start = self._offset - self._position
            piece = self._chunk[start : start + length]
            self._offset += len(piece)
            length -= len(piece)
            yield piece

    def _next_chunk(self) -> bytes:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise InvalidImage("a layer became shorter while it was read", "pull the image again")
        return chunk


def by_layer(files: Iterable[RegularFile]) -> dict[int, list[RegularFile]]:
    """Files by layer, in the order of their contents there."""
    layers: defaultdict[int, list[RegularFile]] = defaultdict(list)
    for file in files:
        layers[file.layer].append(file)
    return {layer: sorted(layers[layer], key=lambda file: file.offset) for layer in sorted(layers)}


def clamped_time(mtime: float, latest: int) -> float:
    """A time from 1970 to `latest`, whatever a header says (PAX allows negative ones, and "nan"
    passes for a number)."""
    return min(mtime, latest) if mtime > 0 else 0


def _uncompressed(read_layer: Callable[[int], Iterable[bytes]], layer: int) -> Iterator[bytes]:
    """A layer's bytes; it is only opened when the first are wanted."""
    yield from decompress(read_layer(layer))
