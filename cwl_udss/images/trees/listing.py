# SPDX-License-Identifier: Apache-2.0
"""Digests of files, and of directories: of their names, modes, links and contents, in the order of
names."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_CHUNK_BYTES = 1 << 20


class Listing:
    """Adds up entries; they come as Tree.walk() has them."""

    def __init__(self) -> None:
        self._checksum = hashlib.sha256()

    def add(self, path: bytes, mode: int, content: bytes) -> None:
        """Add an entry: `mode` with its type, `content` a link's text or a file's checksum."""
        self._checksum.update(b"%s\0%o\0%s\0\n" % (path, mode, content))

    def digest(self) -> str:
        """Return the digest, "sha256:…"."""
        return f"sha256:{self._checksum.hexdigest()}"


def directory_digest(root: Path) -> str:
    """Read a directory and return its digest. Raises OSError."""
    listing = Listing()
    for path, location, status in walk(os.fsencode(root)):
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(location)
        elif stat.S_ISREG(status.st_mode):
            content = _checksum(location)
        else:
            content = b""
        listing.add(path, status.st_mode, content)
    return listing.digest()


def file_digest(path: Path) -> str:
    """Read a file and return its digest, "sha256:…". Raises OSError."""
    return f"sha256:{_checksum(os.fsencode(path)).hex()}"


def walk(root: bytes) -> Iterator[tuple[bytes, bytes, os.stat_result]]:
    """All below a directory as Tree.walk() has them: the path there, where it is, its status."""
    pending = [b""]
    while pending:
        path = pending.pop()
        location = os.path.join(root, path) if path else root
        status = os.lstat(location)
        if path:
            yield path, location, status
        if stat.S_ISDIR(status.st_mode):
            names = sorted(os.listdir(location), reverse=True)
            pending.extend(os.path.join(path, name) for name in names)


def _checksum(location: bytes) -> bytes:
    checksum = hashlib.sha256()
    with open(location, "rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            checksum.update(chunk)
    return checksum.digest()
