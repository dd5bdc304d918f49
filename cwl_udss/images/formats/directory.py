# SPDX-License-Identifier: Apache-2.0
"""The sink that writes a tree as a directory: each path once, and none through a symbolic link."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from cwl_udss.errors import InvalidImage
from cwl_udss.images.trees.contents import Content, Records, Written, clamped_time, placed
from cwl_udss.images.trees.listing import Listing
from cwl_udss.images.trees.tree import Directory, RegularFile, SymbolicLink, Tree

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ZEROS = bytes(1 << 16)
_NO_LAYER = -1
_EMPTY = hashlib.sha256().digest()
_NANOSECOND = 1_000_000_000
_LATEST_TIME = (1 << 33) - 1  # what ext4 can hold is more, XFS without bigtime less


class DirectorySink:
    """Writes a tree as the directory `destination`, which is made; nobody else may have access to
    its parent.

    Files are made without their names first, and then moved to their places.
    """

    def __init__(self, destination: Path, spool: Path, *, for_group: bool = False) -> None:
        """`spool` is made, too: a directory for such files, on the same filesystem; the caller is
        to remove it. With `for_group` the owner's group may read and execute what the owner may.
        Raises OSError."""
        spool.mkdir(mode=0o700)
        self._spool = _open_directory(spool)
        self._destination = destination
        self._for_group = for_group
        self._checksums = defaultdict[int, Records](lambda: Records(len(_EMPTY)))

    def add(self, file: RegularFile, content: Content) -> None:
        """See Sink."""
        if file.size:
            name = _spool_name(file)
            checksum = self._write_file(self._spool, name, file, content)
            self._checksums[file.layer].add(file.offset, checksum)

    def finish(self, tree: Tree) -> Written:
        """See Sink."""
        self._destination.mkdir(mode=0o700)
        root = _open_directory(self._destination)
        try:
            return self._write(root, tree)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise InvalidImage(
                    "the image has a path that is too long here", "the image cannot be used"
                ) from error
            raise
        finally:
            os.close(root)

    def close(self) -> None:
        """See Sink."""
        os.close(self._spool)

    def _write(self, root: int, tree: Tree) -> Written:
        """All names in their order; of directories what a name in them changes, at last."""
        names = _Names(tree, self._checksums)
        directories: list[tuple[bytes, Directory]] = [(b".", tree.root)]
        listing = Listing()  # what listing.directory_digest() finds there
        entries = size = 0
        for path, node in tree.walk():
            entries += 1
            if isinstance(node, Directory):
                os.mkdir(path, 0o700, dir_fd=root)
                directories.append((path, node))
                listing.add(path, stat.S_IFDIR | self._mode(node.mode), b"")
            elif isinstance(node, SymbolicLink):
                os.symlink(node.target, path, dir_fd=root)
                os.utime(path, ns=_times(node.mtime), dir_fd=root, follow_symlinks=False)
                listing.add(path, stat.S_IFLNK | 0o777, node.target)
            else:
                first = names.first(node, path)
                if first == path:
                    self._move_file(root, path, node)
                    size += node.size
                else:
                    os.link(first, path, src_dir_fd=root, dst_dir_fd=root, follow_symlinks=False)
                checksum = self._checksum(node) if node.size else _EMPTY
                listing.add(path, stat.S_IFREG | self._mode(node.mode), checksum)
        # What is in a directory changes its time, and its mode may forbid to change it.
        for path, node in reversed(directories):
            self._finish_directory(root, path, node)
        return Written(entries=entries, bytes=size, digest=listing.digest())

    def _checksum(self, file: RegularFile) -> bytes:
        checksums = self._checksums[file.layer]
        return checksums[checksums.position(file.offset)]

    def _move_file(self, root: int, path: bytes, file: RegularFile) -> None:
        if file.size:
            os.rename(_spool_name(file), path, src_dir_fd=self._spool, dst_dir_fd=root)
        else:
            self._write_file(root, path, file, ())

    def _mode(self, mode: int) -> int:
        return mode | (mode & 0o500) >> 3 if self._for_group else mode

    def _write_file(
        self, directory: int, path: bytes, file: RegularFile, content: Content
    ) -> bytes:
        """Write a file. Returns its checksum."""
        descriptor = os.open(path, _CREATE, 0o600, dir_fd=directory)
        checksum = hashlib.sha256()
        end = 0
        try:
            for offset, piece in placed(file, content):
                if offset > end:
                    os.lseek(descriptor, offset, os.SEEK_SET)
                    _add_zeros(checksum, offset - end)
                _write_all(descriptor, piece)
                checksum.update(piece)
                end = offset + len(piece)
            if end < file.size:
                os.ftruncate(descriptor, file.size)
                _add_zeros(checksum, file.size - end)
            _set_attributes(descriptor, file.attributes)
            os.fchmod(descriptor, self._mode(file.mode))
            os.utime(descriptor, ns=_times(file.mtime))
        finally:
            os.close(descriptor)
        return checksum.digest()

    def _finish_directory(self, root: int, path: bytes, directory: Directory) -> None:
        descriptor = _open_directory(path, root)
        try:
            _set_attributes(descriptor, directory.attributes)
            os.fchmod(descriptor, self._mode(directory.mode))
            os.utime(descriptor, ns=_times(directory.mtime))
        finally:
            os.close(descriptor)


class _Names:
    """The first name of each file that has several."""

    def __init__(self, tree: Tree, contents: Mapping[int, Records]) -> None:
        """`contents` are those of layers. One has several names, too, if the image has its layer
        several times."""
        self._several = {_identity(node) for node in tree.linked if isinstance(node, RegularFile)}
        self._first: dict[tuple[int, int], bytes] = {}
        seen = {layer: bytearray(len(records)) for layer, records in contents.items()}
        for _, node in tree.walk():
            if isinstance(node, RegularFile) and node.size:
                position = contents[node.layer].position(node.offset)
                if seen[node.layer][position]:
                    self._several.add(node.place)
                seen[node.layer][position] = True

    def first(self, file: RegularFile, path: bytes) -> bytes:
        """Return the name under which a file has been written; `path` if it has not been."""
        identity = _identity(file)
        return self._first.setdefault(identity, path) if identity in self._several else path


def _open_directory(path: Path | bytes, below: int | None = None) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=below)


def _spool_name(file: RegularFile) -> bytes:
    return b"%d.%d" % file.place


def _identity(file: RegularFile) -> tuple[int, int]:
    """What is equal for the names of one file: a content is in the spool once."""
    return file.place if file.size else (_NO_LAYER, id(file))


def _add_zeros(checksum: hashlib._Hash, count: int) -> None:
    """Add the hole of a sparse file."""
    while count:
        piece = _ZEROS[: min(count, len(_ZEROS))]
        checksum.update(piece)
        count -= len(piece)


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
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
