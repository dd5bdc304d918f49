# SPDX-License-Identifier: Apache-2.0
"""The files that an image consists of, by their paths: in a tar, or in a directory.

No path in a tar is resolved on the host: its headers are read, and contents are cut out of it by
their offsets. In a directory none is followed out of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from cwl_udss.errors import DamagedImage, ImageError, InvalidImage
from cwl_udss.images.layers.compression import LONGEST_MAGIC, compression_name, decompress
from cwl_udss.images.layers.members import Kind, LayerIndex, Member
from cwl_udss.images.layers.read_ahead import read_ahead
from cwl_udss.images.layers.tar import NoTar, index_tar

_CHUNK_BYTES = 1 << 20
_MOST_LINKS = 2
_COPY_AGAIN = "copy it again, or make it again"


class ImageFile(Protocol):
    """A tar or a directory."""

    @property
    def name(self) -> str:
        """For messages: the path or URL that the person gave."""

    @property
    def remedy(self) -> str:
        """What to do if something in it is missing or wrong."""

    def size(self, path: str) -> int | None:
        """Return the bytes of the file at a path; None if there is none."""

    def read(self, path: str) -> Iterator[bytes]:
        """Yield the content of a file that is there. Raises ImageError."""


@dataclass(frozen=True, kw_only=True)
class TarFile:
    """A tar, uncompressed, and what is in it."""

    name: str
    path: Path
    index: LayerIndex
    remedy: str = "save it again"

    def size(self, path: str) -> int | None:
        """See ImageFile."""
        member = self._member(path)
        return None if member is None else member.size

    def read(self, path: str) -> Iterator[bytes]:
        """See ImageFile."""
        member = self._member(path)
        assert member is not None
        return read_range(self.path, member.offset, member.size)

    def read_all(self) -> Iterator[bytes]:
        """Yield the tar itself."""
        return read_range(self.path, 0, self.path.stat().st_size)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it but, perhaps, its root."""
        return all(not _name(member) for member in self.index.members)

    @cached_property
    def _top(self) -> dict[str, Member]:
        """What is in no directory. It says whether it is an image; of a root filesystem nothing
        else is asked for, which may have a million."""
        return {
            name: member
            for member in self.index.members
            if _may_be_on_top(member.path) and "/" not in (name := _name(member))
        }

    @cached_property
    def _all(self) -> dict[str, Member]:
        return {_name(member): member for member in self.index.members}

    def _member(self, path: str) -> Member | None:
        """Old archives have links to layers that several images share."""
        name = _normal(path)
        for _ in range(_MOST_LINKS):
            member = (self._all if "/" in name else self._top).get(name)
            if member is None or member.kind is Kind.FILE:
                return member
            link = member.link.decode("utf-8", "replace")
            if member.kind is Kind.SYMBOLIC_LINK:
                link = posixpath.join(posixpath.dirname(name), link)
            name = _normal(link)
        return None


@dataclass(frozen=True, kw_only=True)
class UnpackedFile:
    """A directory."""

    name: str
    path: Path
    remedy: str = "save it again, or copy it with all that links in it lead to (cp -rL)"

    def size(self, path: str) -> int | None:
        """See ImageFile. A link out of the directory leads to nothing."""
        with contextlib.suppress(OSError):
            status = os.stat(self._location(path))
            return status.st_size if stat.S_ISREG(status.st_mode) else None
        return None

    def read(self, path: str) -> Iterator[bytes]:
        """See ImageFile."""
        try:
            with open(self._location(path), "rb") as stream:
                yield from _read(stream)
        except OSError as error:
            raise ImageError(
                f"{self.name}: {path} cannot be read: {error.strerror}", "look at the directory"
            ) from error

    def _location(self, path: str) -> str:
        root = os.path.realpath(self.path)
        location = os.path.realpath(os.path.join(root, _normal(path)))
        if os.path.commonpath((root, location)) != root:
            raise FileNotFoundError(errno.ENOENT, "it is a link out of the directory", path)
        return location


def open_tar(path: Path, name: str, work: Path) -> TarFile:
    """Read a tar's headers. A compressed one is unpacked into `work`, as its pieces are read out of
    order. Raises ImageError if it cannot be read, or is no tar."""
    packing = ""
    try:
        if not path.is_file():
            raise ImageError(f"{name} is neither a file nor a directory", "look at its path")
        plain = work / "archive.tar"
        with path.open("rb") as stream, plain.open("xb") as copy:
            packing = compression_name(stream.read(LONGEST_MAGIC))
            stream.seek(0)
            with read_ahead(decompress(_read(stream))) as chunks:
                index = index_tar(_copied(chunks, copy) if packing else chunks)
    except NoTar as error:
        raise _no_tar(error, name, packing) from error
    except InvalidImage as error:
        problem = error.problem.replace("a layer", name, 1)
        is_damaged = isinstance(error, DamagedImage)
        raise type(error)(problem, _COPY_AGAIN if is_damaged else error.advice) from error
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {error.strerror}", "look at its path") from error
    if index.is_followed:
        raise InvalidImage(
            f"{name} has something behind the end of the tar that it is",
            "make one tar of it: of several, tar --concatenate does",
        )
    found = TarFile(name=name, path=plain if packing else path, index=index)
    if found.is_empty:
        what = "a tar with nothing in it" if found.path.stat().st_size else "empty"
        raise InvalidImage(f"{name} is {what}", "make or copy it again")
    return found


def read_range(path: Path, offset: int, size: int) -> Iterator[bytes]:
    """Yield a part of a file."""
    with path.open("rb") as stream:
        stream.seek(offset)
        while size and (chunk := stream.read(min(size, _CHUNK_BYTES))):
            size -= len(chunk)
            yield chunk


def _no_tar(error: NoTar, name: str, packing: str) -> InvalidImage:
    if error.kind is None:
        return InvalidImage(f"{name} is no tar", "an image is a tar, an OCI layout or a directory")
    if packing and error.kind.is_packed:
        return InvalidImage(
            f"{name} is {error.kind.name}, and that with {packing}",
            f"unpack it once: {packing} -dc FILE > OTHER",
        )
    undone = f", in {packing}, which is to be undone first" if packing else ""
    return InvalidImage(f"{name} is {error.kind.name}{undone}", error.kind.advice)


def _read(stream: Any) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _copied(chunks: Iterable[bytes], copy: Any) -> Iterator[bytes]:
    for chunk in chunks:
        copy.write(chunk)
        yield chunk


def _may_be_on_top(path: bytes) -> bool:
    """Whether a path may be in no directory: nearly none is, and to make it normal takes longer."""
    return b"/" not in path.strip(b"/.") or b".." in path


def _name(member: Member) -> str:
    return _normal(member.path.decode("utf-8", "replace"))


def _normal(path: str) -> str:
    return posixpath.normpath(f"/{path}").lstrip("/")
