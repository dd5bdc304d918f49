# SPDX-License-Identifier: Apache-2.0
"""A directory of this machine as a tree, so that a sink can write it again in another format."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from cwl_udss.images.trees.listing import walk
from cwl_udss.images.trees.merge import kept_attributes
from cwl_udss.images.trees.tree import Directory, RegularFile, SymbolicLink, Tree

_CHUNK_BYTES = 1 << 20


def read_directory(root: Path) -> tuple[Tree, Iterator[tuple[RegularFile, Iterator[bytes]]]]:
    """Return a directory's tree, and its files with their contents, which are read then. Raises
    OSError."""
    status = root.stat()
    directories = {
        b"": Directory(
            mode=stat.S_IMODE(status.st_mode),
            mtime=status.st_mtime,
            attributes=_attributes(os.fsencode(root)),
        )
    }
    files: dict[tuple[int, int], RegularFile] = {}
    locations: dict[RegularFile, bytes] = {}
    linked: set[RegularFile] = set()
    offset = 0
    for path, location, status in walk(os.fsencode(root)):
        parent, _, name = path.rpartition(b"/")
        mode, mtime = stat.S_IMODE(status.st_mode), status.st_mtime
        if stat.S_ISDIR(status.st_mode):
            directories[path] = Directory(mode=mode, mtime=mtime, attributes=_attributes(location))
            directories[parent].entries[name] = directories[path]
        elif stat.S_ISLNK(status.st_mode):
            directories[parent].entries[name] = SymbolicLink(os.readlink(location), mtime)
        elif stat.S_ISREG(status.st_mode):
            identity = (status.st_dev, status.st_ino)
            if identity in files:
                linked.add(files[identity])
            else:
                files[identity] = RegularFile(
                    mode=mode,
                    mtime=mtime,
                    size=status.st_size,
                    layer=0,
                    offset=offset,
                    extents=None,
                    attributes=_attributes(location),
                )
                locations[files[identity]] = location
                offset += status.st_size
            directories[parent].entries[name] = files[identity]
    contents = ((file, _content(location, file.size)) for file, location in locations.items())
    return Tree(root=directories[b""], linked=frozenset(linked)), contents


def _attributes(location: bytes) -> Mapping[str, bytes]:
    """Those that an image may have. Some filesystems have none."""
    try:
        names = os.listxattr(location, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return {}
    found = {
        name: os.getxattr(location, name, follow_symlinks=False)
        for name in names
        if name.startswith("user.")
    }
    return kept_attributes(found)


def _content(location: bytes, size: int) -> Iterator[bytes]:
    with open(location, "rb", buffering=0) as stream:
        while size:
            chunk = stream.read(min(size, _CHUNK_BYTES))
            if not chunk:
                raise OSError(errno.EIO, "it became shorter while it was read", location)
            size -= len(chunk)
            yield chunk
