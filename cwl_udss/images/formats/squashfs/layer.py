# SPDX-License-Identifier: Apache-2.0
"""Reads a SquashFS file as a layer, one that is put over others as overlayfs does it: as the tar
that it would be in a registry, which is merged like any other."""

from __future__ import annotations

import stat
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from cwl_udss.images.formats.squashfs.contents import read_contents
from cwl_udss.images.formats.squashfs.reader import Found, read_tree
from cwl_udss.images.trees.contents import placed
from cwl_udss.images.trees.tree import Directory, Node, RegularFile, SymbolicLink

_WHITEOUT = b".wh."  # image-spec layer.md
_OPAQUE = b".wh..wh..opq"
_ATTRIBUTE = "SCHILY.xattr."
_ZEROS = bytes(1 << 16)


def layer_as_tar(path: Path, offset: int) -> Iterator[bytes]:
    """Yield the tar that a layer would be, with whiteouts where overlayfs has devices of its own.
    Raises OSError, and InvalidImage as reader.read_squashfs() does."""
    found = read_tree(path, offset)
    names, links = _names(found)
    yield from _directories(found)
    for file, content in read_contents(path, offset, found.files):
        yield _header(names[file], file, tarfile.REGTYPE, size=file.size)
        yield from _whole(file, content)
        yield bytes(-file.size % tarfile.BLOCKSIZE)
    for name, node in found.tree.walk():
        if isinstance(node, RegularFile) and not node.size and names[node] == name:
            yield _header(name, node, tarfile.REGTYPE)
    for name, target in links:
        yield _header(name, None, tarfile.LNKTYPE, link=target)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _names(found: Found) -> tuple[dict[Node, bytes], list[tuple[bytes, bytes]]]:
    """The first name of each node; and the others, each with the first."""
    names: dict[Node, bytes] = {}
    links = []
    for name, node in found.tree.walk():
        first = names.setdefault(node, name)
        if first != name:
            links.append((name, first))
    return names, links


def _directories(found: Found) -> Iterator[bytes]:
    """Directories, links in them, and what they hide."""
    hidden: defaultdict[Directory, list[bytes]] = defaultdict(list)
    for directory, name in found.hidden:
        hidden[directory].append(_WHITEOUT + name)
    for directory in found.opaque:
        hidden[directory].append(_OPAQUE)
    seen: set[Node] = set()
    for path, node in [(b".", found.tree.root), *found.tree.walk()]:
        if isinstance(node, Directory):
            yield _header(path, node, tarfile.DIRTYPE)
            for name in hidden[node]:
                yield _header(path + b"/" + name, None, tarfile.REGTYPE)
        elif isinstance(node, SymbolicLink) and node not in seen:
            yield _header(path, node, tarfile.SYMTYPE, link=node.target)
        seen.add(node)


def _header(name: bytes, node: Node | None, kind: bytes, size: int = 0, link: bytes = b"") -> bytes:
    member = tarfile.TarInfo(_text(name))
    member.type, member.size, member.linkname = kind, size, _text(link)
    if node is not None:
        member.mtime = int(node.mtime)
    if isinstance(node, Directory | RegularFile):
        member.mode = stat.S_IMODE(node.mode)
        member.pax_headers = {
            f"{_ATTRIBUTE}{key}": value.decode("utf-8", "surrogateescape")
            for key, value in node.attributes.items()
        }
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _whole(file: RegularFile, content: Iterator[bytes]) -> Iterator[bytes]:
    """A file with its holes."""
    end = 0
    for offset, piece in placed(file, content):
        yield from _zeros(offset - end)
        yield bytes(piece)
        end = offset + len(piece)
    yield from _zeros(file.size - end)


def _zeros(count: int) -> Iterator[bytes]:
    while count:
        piece = _ZEROS[:count]
        yield piece
        count -= len(piece)
