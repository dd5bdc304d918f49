# SPDX-License-Identifier: Apache-2.0
"""The sink that writes a tree as a directory: each path once, and none through a symbolic link."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cwl_udss.errors import InvalidImage
from cwl_udss.images.contents import LayerContent, Written, by_layer, clamped_time
from cwl_udss.images.listing import Listing
from cwl_udss.images.tree import Directory, Node, RegularFile, SymbolicLink, Tree

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ZEROS = bytes(1 << 16)
_NANOSECOND = 1_000_000_000
_LATEST_TIME = (1 << 33) - 1  # what ext4 can hold is more, XFS without bigtime less


def write_directory(
    tree: Tree,
    read_layer: Callable[[int], Iterable[bytes]],
    destination: Path,
    *,
    for_group: bool = False,
) -> Written:
    """Write a tree to `destination`, which is made; nobody else may have access to its parent.

    With `for_group` the owner's group may read and execute what the owner may.
    `read_layer` gives a layer's compressed bytes. Raises InvalidImage if a layer is shorter than
    its index says, and OSError.
    """
    destination.mkdir(mode=0o700)
    root = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _Writer(root, for_group=for_group).write(tree, read_layer)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidImage(
                "the image has a path that is too long here", "the image cannot be used"
            ) from error
        raise
    finally:
        os.close(root)


class _Writer:
    """Writes below an open directory; all paths are relative to it."""

    def __init__(self, root: int, *, for_group: bool) -> None:
        self._root = root
        self._for_group = for_group
        self._bytes = 0
        self._checksums: dict[RegularFile, bytes] = {}

    def write(self, tree: Tree, read_layer: Callable[[int], Iterable[bytes]]) -> Written:
        """Directories first, then the files in the order of their layers, then all other names."""
        nodes = list(tree.walk())
        first_paths: dict[RegularFile, bytes] = {}
        for path, node in nodes:
            if isinstance(node, Directory):
                os.mkdir(path, 0o700, dir_fd=self._root)
            elif isinstance(node, RegularFile):
                first_paths.setdefault(node, path)
        for layer, files in by_layer(first_paths).items():
            content = LayerContent(read_layer, layer)
            for file in files:
                self._write_file(first_paths[file], file, content)
        for path, node in nodes:
            if isinstance(node, SymbolicLink):
                self._write_symbolic_link(path, node)
            elif isinstance(node, RegularFile) and first_paths[node] != path:
                self._write_hard_link(path, first_paths[node])
        # What is in a directory changes its time, and its mode may forbid to change it.
        for path, node in reversed([(b".", tree.root), *nodes]):
            if isinstance(node, Directory):
                self._finish_directory(path, node)
        return Written(entries=len(nodes), bytes=self._bytes, digest=self._digest(nodes))

    def _digest(self, nodes: list[tuple[bytes, Node]]) -> str:
        """What listing.directory_digest() finds there."""
        listing = Listing()
        for path, node in nodes:
            if isinstance(node, SymbolicLink):
                listing.add(path, stat.S_IFLNK | 0o777, node.target)
            elif isinstance(node, RegularFile):
                listing.add(path, stat.S_IFREG | self._mode(node.mode), self._checksums[node])
            else:
                listing.add(path, stat.S_IFDIR | self._mode(node.mode), b"")
        return listing.digest()

    def _mode(self, mode: int) -> int:
        return mode | (mode & 0o500) >> 3 if self._for_group else mode

    def _write_file(self, path: bytes, file: RegularFile, content: LayerContent) -> None:
        descriptor = os.open(path, _CREATE, 0o600, dir_fd=self._root)
        checksum = hashlib.sha256()
        end = 0
        try:
            for offset, length in file.extents or ((0, file.size),):
                if file.extents is not None:
                    os.lseek(descriptor, offset, os.SEEK_SET)
                    _add_zeros(checksum, offset - end)
                    end = offset + length
                for piece in content.read(file, length):
                    _write_all(descriptor, piece)
                    checksum.update(piece)
            if file.extents is not None:
                os.ftruncate(descriptor, file.size)
                _add_zeros(checksum, file.size - end)
            self._checksums[file] = checksum.digest()
            _set_attributes(descriptor, file.attributes)
            os.fchmod(descriptor, self._mode(file.mode))
            os.utime(descriptor, ns=_times(file.mtime))
        finally:
            os.close(descriptor)
        self._bytes += file.size

    def _write_symbolic_link(self, path: bytes, link: SymbolicLink) -> None:
        os.symlink(link.target, path, dir_fd=self._root)
        os.utime(path, ns=_times(link.mtime), dir_fd=self._root, follow_symlinks=False)

    def _write_hard_link(self, path: bytes, first: bytes) -> None:
        os.link(first, path, src_dir_fd=self._root, dst_dir_fd=self._root, follow_symlinks=False)

    def _finish_directory(self, path: bytes, directory: Directory) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root)
        try:
            _set_attributes(descriptor, directory.attributes)
            os.fchmod(descriptor, self._mode(directory.mode))
            os.utime(descriptor, ns=_times(directory.mtime))
        finally:
            os.close(descriptor)


def _add_zeros(checksum: hashlib._Hash, count: int) -> None:
    """Add the hole of a sparse file."""
    while count:
        piece = _ZEROS[: min(count, len(_ZEROS))]
        checksum.update(piece)
        count -= len(piece)


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _set_attributes(descriptor: int, attributes: Mapping[str, bytes]) -> None:
    for name, value in attributes.items():
        # Some file systems have none (tmpfs before Linux 6.6): nothing that a tool could need.
        with contextlib.suppress(OSError):
            os.setxattr(descriptor, name, value)


def _times(mtime: float) -> tuple[int, int]:
    nanoseconds = int(clamped_time(mtime, _LATEST_TIME) * _NANOSECOND)
    return nanoseconds, nanoseconds
