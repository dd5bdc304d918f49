# SPDX-License-Identifier: Apache-2.0
"""Reads what a SIF file holds: its objects, and which of them is the root filesystem.

Nothing of it is trusted: every object lies inside the file, and what is read is of bounded size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from cwl_udss.errors import DamagedImage, ImageError, InvalidImage
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.images.formats.sif.layout import (
    ARCHITECTURES,
    DESCRIPTOR,
    HEADER,
    MAGIC,
    MAGIC_OFFSET,
    PARTITION,
    VERSION,
    FileSystem,
    ObjectKind,
    Part,
)

_MOST_DESCRIPTORS = 4096  # Apptainer makes room for 48
_LARGEST_OBJECT = 4 << 20  # of those that are read whole: documents
COPY_AGAIN = "copy it again, or make it again"
_REMADE = "have it made anew: apptainer build NEW.sif FILE"


@dataclass(frozen=True, kw_only=True)
class SifObject:
    """Something in a SIF file."""

    kind: int
    """An ObjectKind, if it is known."""
    identifier: int
    group: int
    link: int
    offset: int
    """Where in the file it begins; it ends inside of it."""
    size: int
    name: str
    extra: bytes
    """What its kind has of its own."""


@dataclass(frozen=True, kw_only=True)
class Sif:
    """A SIF file."""

    path: Path
    name: str
    """For messages."""
    architecture: str
    """Go's name; "" if the file does not say."""
    objects: tuple[SifObject, ...]

    def of_kind(self, kind: ObjectKind) -> Iterator[SifObject]:
        """Yield the objects of a kind, in the file's order."""
        return (found for found in self.objects if found.kind == kind)

    @cached_property
    def root(self) -> SifObject:
        """The SquashFS file that is the root filesystem. Raises InvalidImage if there is none that
        can be used."""
        primary = [
            (file_system, found)
            for found in self.of_kind(ObjectKind.PARTITION)
            for file_system, part, _ in [PARTITION.unpack_from(found.extra)]
            if part == Part.PRIMARY_SYSTEM
        ]
        if len(primary) != 1:
            count = "several root filesystems" if primary else "no root filesystem"
            raise InvalidImage(f"{self.name} is a SIF file with {count}", _REMADE)
        file_system, found = primary[0]
        if file_system != FileSystem.SQUASHFS:
            raise _unusable(self.name, file_system)
        return found

    @cached_property
    def root_architecture(self) -> str:
        """What the root filesystem is for: Go's name, "" if nothing says it. Raises InvalidImage as
        `root` does, and if the file contradicts itself."""
        _, _, named = PARTITION.unpack_from(self.root.extra)
        architecture = ARCHITECTURES.get(named.rstrip(b"\0"), "")
        if architecture and self.architecture and architecture != self.architecture:
            raise InvalidImage(
                f"{self.name} is for {self.architecture}, and its root filesystem for "
                f"{architecture}",
                _REMADE,
            )
        return architecture or self.architecture

    @property
    def has_overlay(self) -> bool:
        """Whether there is something that Apptainer would put over the root filesystem."""
        return any(
            PARTITION.unpack_from(found.extra)[1] == Part.OVERLAY
            for found in self.of_kind(ObjectKind.PARTITION)
        )

    def read(self, wanted: SifObject) -> bytes:
        """Return the bytes of an object that is a document. Raises ImageError."""
        if wanted.size > _LARGEST_OBJECT:
            raise InvalidImage(f"{self.name}: {wanted.name} is larger than any such part", _REMADE)
        try:
            with self.path.open("rb") as stream:
                stream.seek(wanted.offset)
                return stream.read(wanted.size)
        except OSError as error:
            raise _unreadable(self.name, error) from error


def is_sif(path: Path) -> bool:
    """Say whether what is at a path begins as a SIF file; not if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(HEADER.size).startswith(MAGIC, MAGIC_OFFSET)
    except OSError:
        return False


def read_sif(path: Path, name: str) -> Sif:
    """Return what a SIF file holds; `name` is for messages. Raises InvalidImage if it is none, or
    is damaged, and ImageError if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return _read(stream, path, name)
    except OSError as error:
        raise _unreadable(name, error) from error


def _read(stream: BinaryIO, path: Path, name: str) -> Sif:
    size = os.fstat(stream.fileno()).st_size
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        raise DamagedImage(f"{name} breaks off in its header", COPY_AGAIN)
    _, magic, version, architecture, _, _, _, _, total, start, length, _, _ = HEADER.unpack(header)
    if magic != MAGIC:
        raise InvalidImage(f"{name} is no SIF file", "look at its path")
    if version != VERSION:
        raise InvalidImage(f"{name} is of another version of SIF, {version!r}", _REMADE)
    if not 0 <= total <= _MOST_DESCRIPTORS or start < HEADER.size:
        raise DamagedImage(f"{name} has a header that is none of a SIF file", COPY_AGAIN)
    wanted = min(length, total * DESCRIPTOR.size) // DESCRIPTOR.size * DESCRIPTOR.size
    if wanted < 0 or start + wanted > size:
        raise DamagedImage(f"{name} breaks off in its table of parts", COPY_AGAIN)
    stream.seek(start)
    table = stream.read(wanted)
    return Sif(
        path=path,
        name=name,
        architecture=ARCHITECTURES.get(architecture.rstrip(b"\0"), ""),
        objects=tuple(_objects(table, size, name)),
    )


def _objects(table: bytes, size: int, name: str) -> Iterator[SifObject]:
    for fields in DESCRIPTOR.iter_unpack(table):
        kind, is_used, identifier, group, link, start, length, _, _, _, _, _, title, extra = fields
        if not is_used:
            continue
        if start < HEADER.size or length < 0 or start + length > size:
            raise DamagedImage(
                f"{name} is not whole: it has {size} bytes, and a part that ends at "
                f"{start + length}",
                COPY_AGAIN,
            )
        yield SifObject(
            kind=kind,
            identifier=identifier,
            group=group,
            link=link,
            offset=start,
            size=length,
            name=title.partition(b"\0")[0].decode("utf-8", "replace"),
            extra=extra,
        )


def _unusable(name: str, file_system: int) -> InvalidImage:
    if file_system in (FileSystem.ENCRYPTED_SQUASHFS, FileSystem.GOCRYPTFS_SQUASHFS):
        return InvalidImage(
            f"{name} is an encrypted SIF image",
            "have one made that is not: who has its key can build it to a directory and that to "
            "another file (apptainer build --sandbox)",
        )
    what = "ext3" if file_system == FileSystem.EXT3 else f"a filesystem of kind {file_system}"
    return InvalidImage(f"{name} is a SIF image whose root filesystem is {what}", _REMADE)


def _unreadable(name: str, error: OSError) -> ImageError:
    return ImageError(f"{name} cannot be read: {system_words(error)}", "look at its path")
