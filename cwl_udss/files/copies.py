# SPDX-License-Identifier: Apache-2.0
"""Copies and moves that cost little and lose nothing, with the names and arguments of shutil's."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from cwl_udss.filesystems.filesystem import FICLONE
from cwl_udss.staging import remove_tree, sync, sync_tree

# What means that this way is not possible here, rather than that it has failed.
_IMPOSSIBLE = frozenset(
    (errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.EBADF)
)
_RANGE_BYTES = 1 << 30
_CHUNK_BYTES = 1 << 20


def copy(source: str, target: str) -> str:
    """Copy a file and its mode, sharing its blocks where the filesystem can (shutil.copy)."""
    if os.path.isdir(target):
        target = os.path.join(target, os.path.basename(source))
    _copy_content(source, target)
    shutil.copymode(source, target)
    return target


def copy2(source: str, target: str, *, follow_symlinks: bool = True) -> str:
    """Copy a file, its mode and times (shutil.copy2)."""
    if not follow_symlinks and os.path.islink(source):
        return shutil.copy2(source, target, follow_symlinks=False)
    target = copy(source, target)
    shutil.copystat(source, target)
    return target


def copytree(
    source: str,
    target: str,
    *,
    symlinks: bool = False,
    copy: Callable[[str, str], object] = copy2,
    ignore: Callable[[str, list[str]], Collection[str]] | None = None,
) -> str:
    """Copy a directory, its files by `copy` (shutil.copytree)."""
    return shutil.copytree(source, target, symlinks=symlinks, ignore=ignore, copy_function=copy)


def move(source: str, target: str) -> str:
    """Move a file or a directory: by rename, or to another filesystem so that at any moment either
    the old is whole or the new (shutil.move)."""
    if os.path.isdir(target):
        target = os.path.join(target, os.path.basename(source))
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_across(Path(source), Path(target))
    return target


def _move_across(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(8)}")
    try:
        if _is_directory(source):
            copytree(str(source), str(temporary), symlinks=True)
        else:
            copy2(str(source), str(temporary), follow_symlinks=False)
        sync_tree(temporary)
        _compare(source, temporary)
        temporary.rename(target)
    except BaseException:
        _remove(temporary)
        raise
    sync(target.parent)
    _remove(source)


def _remove(path: Path) -> None:
    if _is_directory(path):
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _compare(source: Path, copied: Path) -> None:
    """See whether all has arrived, and as it was. Raises OSError."""
    if source.is_symlink():
        return
    if not source.is_dir():
        if not filecmp.cmp(source, copied, shallow=False):
            raise OSError(errno.EIO, "the copy differs from its original", str(copied))
        return
    names = sorted(os.listdir(source))
    if names != sorted(os.listdir(copied)):
        raise OSError(errno.EIO, "the copy lacks what its original has", str(copied))
    for name in names:
        _compare(source / name, copied / name)


def _copy_content(source: str, target: str) -> None:
    """Copy what is in a file; leaves no half copy."""
    if os.path.exists(target) and os.path.samefile(source, target):
        raise shutil.SameFileError(f"{source} and {target} are the same file")
    if not stat.S_ISREG(os.stat(source).st_mode):  # opening a pipe waits for who writes to it
        raise shutil.SpecialFileError(f"{source} is not a regular file")
    try:
        _copy_bytes(source, target)
    except OSError as error:
        if error.filename is not None:  # nothing could be opened
            raise
        with contextlib.suppress(OSError):
            os.unlink(target)
        raise OSError(error.errno, error.strerror, target) from error


def _copy_bytes(source: str, target: str) -> None:
    """By the cheapest way there is: shared blocks, a copy in the kernel (which a server may make by
    itself), or through here."""
    with open(source, "rb", buffering=0) as reader, open(target, "wb", buffering=0) as writer:
        if _is_possible(lambda: fcntl.ioctl(writer, FICLONE, reader.fileno())):
            return
        if hasattr(os, "copy_file_range"):  # not of a Python that was built for glibc before 2.27
            _is_possible(lambda: _copy_range(reader.fileno(), writer.fileno()))
        # The rest: nothing, or everything (the kernel copies nothing out of /proc, say).
        shutil.copyfileobj(reader, writer, _CHUNK_BYTES)


def _copy_range(source: int, target: int) -> None:
    while os.copy_file_range(source, target, _RANGE_BYTES):
        pass


def _is_possible(action: Callable[[], object]) -> bool:
    """Do it, and say whether it can be done here in this way. Raises OSError if it has failed."""
    try:
        action()
    except OSError as error:
        if error.errno in _IMPOSSIBLE:
            return False
        raise
    return True
