# SPDX-License-Identifier: Apache-2.0
"""Reads one file of a SquashFS file, without all others."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from cwl_udss.files.paths import MAXIMUM_SYMLINKS
from cwl_udss.images.formats.squashfs.contents import content
from cwl_udss.images.formats.squashfs.parsing.blocks import Image
from cwl_udss.images.formats.squashfs.parsing.damage import Malformed, explained
from cwl_udss.images.formats.squashfs.parsing.inodes import (
    AnyInode,
    DirectoryInode,
    FileInode,
    LinkInode,
    read_inode,
    read_listing,
)

_LARGEST_FILE = 16 << 20


def read_file(path: Path, name: str, offset: int = 0) -> bytes | None:
    """Return the content of the file at a path in an image, following links as a process whose root
    the image is; None if there is none. Raises OSError, and InvalidImage if the image is damaged,
    or the file is larger than any that is read whole."""
    with path.open("rb") as stream, explained(path):
        image = Image(stream, offset)
        inode = _find(image, [part.encode(errors="surrogateescape") for part in name.split("/")])
        if not isinstance(inode, FileInode):
            return None
        if inode.size > _LARGEST_FILE:
            raise Malformed(f"{name} in it has {inode.size} bytes")
        return b"".join(content(image, inode))


def _find(image: Image, names: list[bytes]) -> AnyInode | None:
    """What is at a path; None if it leads to nothing, or round and round."""
    root = read_inode(image, image.layout.root)
    path = [root]
    pending = deque(names)
    links = 0
    while pending:
        name = pending.popleft()
        directory = path[-1]
        if not isinstance(directory, DirectoryInode):
            return None
        if name in (b"", b"."):
            continue
        if name == b"..":
            path = path[:-1] or path
            continue
        inode = _entry(image, directory, name)
        if inode is None:
            return None
        if not isinstance(inode, LinkInode):
            path.append(inode)
            continue
        links += 1
        if links > MAXIMUM_SYMLINKS:
            return None
        if inode.target.startswith(b"/"):
            path = [root]
        pending.extendleft(reversed(inode.target.split(b"/")))
    return path[-1]


def _entry(image: Image, directory: DirectoryInode, name: bytes) -> AnyInode | None:
    for entry, position in read_listing(image, directory):
        if entry == name:
            return read_inode(image, position)
    return None
