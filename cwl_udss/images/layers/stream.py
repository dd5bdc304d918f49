# SPDX-License-Identifier: Apache-2.0
"""A layer's bytes, read forward."""

from __future__ import annotations

from collections.abc import Iterator

from cwl_udss.errors import DamagedImage


class Stream:
    """Bytes that come in chunks, counted."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._position = 0
        self.offset = 0

    def read(self, size: int) -> bytes:
        """The next bytes; fewer at the end."""
        data = self._chunk[self._position : self._position + size]
        self._position += len(data)
        self.offset += len(data)
        return data if len(data) == size else data + self._read_on(size - len(data))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next bytes, uncopied. Raises DamagedImage if the stream ends before."""
        while size:
            piece = memoryview(self._chunk)[self._position : self._position + size]
            if piece:
                self._position += len(piece)
                self.offset += len(piece)
                size -= len(piece)
                yield piece
            elif not self._next():
                raise truncated()

    def skip_to(self, offset: int) -> None:
        """Go on without looking. Raises DamagedImage if the stream ends before."""
        missing = offset - self.offset
        if 0 <= missing <= len(self._chunk) - self._position:
            self._position += missing
            self.offset = offset
            return
        for _ in self.pieces(missing):
            pass

    def rest(self) -> Iterator[memoryview]:
        """All that is left, uncopied."""
        while True:
            piece = memoryview(self._chunk)[self._position :]
            self.offset += len(piece)
            yield piece
            if not self._next():
                return

    def _read_on(self, size: int) -> bytes:
        """What the next chunks begin with."""
        data = b""
        while len(data) < size and self._next():
            part = self._chunk[: size - len(data)]
            self._position = len(part)
            self.offset += len(part)
            data += part
        return data

    def _next(self) -> bool:
        chunk = next(self._chunks, None)
        self._chunk, self._position = chunk or b"", 0
        return chunk is not None


def truncated() -> DamagedImage:
    """What to raise where more must come."""
    return DamagedImage("a layer ends too early", "the image is damaged: have it pushed again")
