# SPDX-License-Identifier: Apache-2.0
"""What a layer has in it: its members, each with where its content is."""

from __future__ import annotations

import enum
import itertools
import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from isal import isal_zlib

_BATCH = 500


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
