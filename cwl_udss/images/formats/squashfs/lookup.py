# SPDX-License-Identifier: Apache-2.0
"""Reads one file or directory of a SquashFS file, without all others."""

from __future__ import annotations

import os
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
        inode = _find(image, name)
        if not isinstance(inode, FileInode):
            return None
        if inode.size > _LARGEST_FILE:
            raise Malformed(f"{name} in it has {inode.size} bytes")
        return b"".join(content(image, inode))


def list_names(path: Path, name: str, offset: int = 0) -> list[str]:
    """Return the names in the directory at a path in an image, as read_file() finds it; none if
    there is no such directory. Raises OSError, and InvalidImage if the image is damaged."""
    with path.open("rb") as stream, explained(path):
        image = Image(stream, offset)
        inode = _find(image, name)
        if not isinstance(inode, DirectoryInode):
            return []
        return [os.fsdecode(entry) for entry, _ in read_listing(image, inode)]


def _find(image: Image, name: str) -> AnyInode | None:
    """What is at a path; None if it leads to nothing, or round and round."""
    root = read_inode(image, image.layout.root)
    path = [root]
    pending = deque(part.encode(errors="surrogateescape") for part in name.split("/"))
    links = 0
    while pending:
        part = pending.popleft()
        directory = path[-1]
        if not isinstance(directory, DirectoryInode):
            return None
        if part in (b"", b"."):
            continue
        if part == b"..":
            path = path[:-1] or path
            continue
        inode = _entry(image, directory, part)
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
