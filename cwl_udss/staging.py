# SPDX-License-Identifier: Apache-2.0
"""What the filesystem can be trusted with: atomic publishing, and work that a dead process left.

Nothing here relies on a lock. Everything is made under a unique name on the filesystem where it
will stay, forced to the disk, and renamed into place: a reader sees all of it or nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cwl_udss.filesystems.filesystem import owner_name
from cwl_udss.filesystems.leases import living, presence, presence_name

_logger = logging.getLogger(__name__)

_OWNER = ".owner"
_FEW = 16


@contextlib.contextmanager
def work_directory(parent: Path) -> Iterator[Path]:
    """Make a directory of this process's own below `parent`, removed at the end, for what is going
    to be published on that filesystem. Removes what processes left there that are known to be dead.
    """
    parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(parent, patience=0)
    path = parent / presence_name()
    with presence(path.with_name(path.name + _OWNER), path):
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            remove_tree(path)


def remove_abandoned(parent: Path, patience: float, level: int = logging.DEBUG) -> list[Path]:
    """Remove the work directories below `parent` of processes that are no more, and only these.

    Those of other machines are watched for up to `patience` seconds (see leases.living). Returns
    what was removed. Other people's stay, which is logged at `level`.
    """
    with contextlib.suppress(FileNotFoundError):
        owners = {path for path in parent.iterdir() if path.name.endswith(_OWNER)}
        removed = []
        for owner in sorted(owners - living(owners, patience)):
            directory = owner.with_name(owner.name.removesuffix(_OWNER))
            try:
                remove_tree(directory)
                owner.unlink(missing_ok=True)
                removed.append(directory)
            except PermissionError:  # in a store of several people: it is theirs
                _logger.log(level, "%s stays: it is %s's", directory, owner_name(owner))
        return removed
    return []


def publish_file(path: Path, content: bytes, work: Path, mode: int | None = None) -> None:
    """Write a file so that a reader sees the old content or the new, also after a crash. It is made
    in `work`, a work directory on the same filesystem."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = work / secrets.token_hex(8)
    with open(made, "xb") as stream:
        stream.write(content)
        stream.flush()
        if mode is not None:
            os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())
    made.rename(path)
    sync(path.parent)


def publish_directory(made: Path, path: Path) -> bool:
    """Move a finished directory into place. False if another process was first: that one stays."""
    sync_tree(made)
    return move_into_place(made, path)


def move_into_place(made: Path, path: Path) -> bool:
    """Do the same with what is on the disk already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.rename(path)
    except OSError:
        # rename(2): a directory can replace an empty one only. EEXIST or ENOTEMPTY, but of sshfs
        # it may be anything.
        if path.exists():
            return False
        raise
    sync(path.parent)
    return True


def sync_tree(path: Path) -> None:
    """Force a tree to the disk: by fsync(2) for each of a few, else with all of the filesystem."""
    entries = list(itertools.islice(_all_entries(path), _FEW + 1))
    if len(entries) > _FEW:
        _sync_filesystem(path)
        return
    try:
        for entry in (*entries, path):
            mode = entry.lstat().st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                sync(entry)
    except PermissionError:  # a mode that lets nobody read
        _sync_filesystem(path)


def sync(path: Path) -> None:
    """Force a file, or which names are in a directory, to the disk (fsync(2))."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove a directory whatever the modes of its files and directories are. What is not below it
    keeps its mode, whoever's it is."""
    top = os.fspath(path)
    tried: set[str] = set()

    def make_writable_and_retry(function: object, name: str, error: Any) -> None:
        if isinstance(error[1], FileNotFoundError):  # another has removed it
            return
        if name in tried:
            raise error[1]
        tried.add(name)
        if name != top:
            os.chmod(os.path.dirname(name), 0o700)
        if os.path.isdir(name) and not os.path.islink(name):
            os.chmod(name, 0o700)
            shutil.rmtree(name, onerror=make_writable_and_retry)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)

    shutil.rmtree(top, onerror=make_writable_and_retry)


def _all_entries(path: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(path):
        yield from (Path(directory, name) for name in (*names, *files))


def _sync_filesystem(path: Path) -> None:
    """One call instead of fsync(2) for each file (syncfs(2))."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if library.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)
