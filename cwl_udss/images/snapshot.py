# SPDX-License-Identifier: Apache-2.0
"""A directory of this machine as a tree, so that a sink can write it again in another format."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from cwl_udss.images.listing import walk
from cwl_udss.images.tree import Directory, RegularFile, SymbolicLink, Tree

_CHUNK_BYTES = 1 << 20
# The contents follow each other as in a layer, after what is certainly no compressed file's magic.
_BEGINNING = bytes(512)


def read_directory(root: Path) -> tuple[Tree, Callable[[int], Iterator[bytes]]]:
    """Return a directory's tree, and what reads the contents of its files as layer 0."""
    directories = {b"": Directory(mode=stat.S_IMODE(root.stat().st_mode))}
    files: dict[tuple[int, int], RegularFile] = {}
    locations: list[tuple[bytes, int]] = []
    offset = len(_BEGINNING)
    for path, location, status in walk(os.fsencode(root)):
        parent, _, name = path.rpartition(b"/")
        mode, mtime = stat.S_IMODE(status.st_mode), status.st_mtime
        if stat.S_ISDIR(status.st_mode):
            directories[path] = Directory(mode=mode, mtime=mtime)
            directories[parent].put(name, directories[path], 0)
        elif stat.S_ISLNK(status.st_mode):
            directories[parent].put(name, SymbolicLink(os.readlink(location), mtime), 0)
        elif stat.S_ISREG(status.st_mode):
            identity = (status.st_dev, status.st_ino)
            if identity not in files:
                files[identity] = RegularFile(
                    mode=mode,
                    mtime=mtime,
                    size=status.st_size,
                    layer=0,
                    offset=offset,
                    extents=None,
                    attributes={},
                )
                locations.append((location, status.st_size))
                offset += status.st_size
            directories[parent].put(name, files[identity], 0)
    return Tree(root=directories[b""], notes=()), lambda _: _contents(locations)


def _contents(locations: list[tuple[bytes, int]]) -> Iterator[bytes]:
    yield _BEGINNING
    for location, size in locations:
        with open(location, "rb", buffering=0) as stream:
            left = size
            while left and (chunk := stream.read(min(left, _CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk
