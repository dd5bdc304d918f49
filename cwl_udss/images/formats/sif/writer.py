# SPDX-License-Identifier: Apache-2.0
"""Writes a SIF file: a root filesystem, and what is said of it.

The same content gives the same bytes: as Apptainer's own with --reproducible, without times and
with no identifier (sif's pkg/sif/create.go, "OptCreateDeterministic").
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cwl_udss.images.formats.sif.layout import (
    ARCHITECTURES,
    DESCRIPTOR,
    HEADER,
    MAGIC,
    PARTITION,
    VERSION,
    FileSystem,
    ObjectKind,
    Part,
)

_LAUNCH = b"#!/usr/bin/env run-singularity\n"
_DESCRIPTORS = 48  # what Apptainer makes room for
_TABLE_OFFSET = 4096
_TABLE_BYTES = _DESCRIPTORS * DESCRIPTOR.size
_DATA_OFFSET = _TABLE_OFFSET + _TABLE_BYTES
_PAGE = 4096  # a partition begins at one, so that the kernel can mount it
_GROUP = 0xF0000001
_UNKNOWN = b"00"
_COPIED_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Document:
    """Something small beside the root filesystem."""

    kind: ObjectKind
    name: str
    content: bytes


def write_sif(
    stream: BinaryIO, squashfs: Path, architecture: str, documents: Sequence[Document]
) -> None:
    """Write a SIF file to an empty one. `squashfs` is the file with the root filesystem, for the
    processor of Go's name `architecture`. Raises OSError."""
    codes = {name: code for code, name in ARCHITECTURES.items()}
    code = codes.get(architecture, _UNKNOWN)
    objects = _Objects(stream)
    for document in documents:
        with objects.one(document.kind, document.name):
            stream.write(document.content)
    partition = PARTITION.pack(FileSystem.SQUASHFS, Part.PRIMARY_SYSTEM, code)
    with (
        squashfs.open("rb") as content,
        objects.one(ObjectKind.PARTITION, squashfs.name, partition, alignment=_PAGE),
    ):
        shutil.copyfileobj(content, stream, _COPIED_BYTES)
    used = len(objects.descriptors)
    header = HEADER.pack(
        *(_LAUNCH, MAGIC, VERSION, code, bytes(16), 0, 0),
        *(_DESCRIPTORS - used, _DESCRIPTORS, _TABLE_OFFSET, _TABLE_BYTES),
        *(_DATA_OFFSET, stream.tell() - _DATA_OFFSET),
    )
    stream.seek(0)
    stream.write(header)
    stream.seek(_TABLE_OFFSET)
    stream.write(b"".join(objects.descriptors))


class _Objects:
    """What is written after the table, and what the table says of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.descriptors: list[bytes] = []
        stream.seek(_DATA_OFFSET)

    @contextlib.contextmanager
    def one(
        self, kind: ObjectKind, name: str, extra: bytes = b"", *, alignment: int = 1
    ) -> Iterator[None]:
        """Whatever is written meanwhile is an object."""
        free = self._stream.tell()
        start = self._stream.seek(free + -free % alignment)
        yield
        end = self._stream.tell()
        self.descriptors.append(
            DESCRIPTOR.pack(
                *(kind, 1, len(self.descriptors) + 1, _GROUP, 0),
                *(start, end - start, end - free, 0, 0, 0, 0),
                *(name.encode(), extra),
            )
        )
