# SPDX-License-Identifier: Apache-2.0
"""What the filesystem can be trusted with: atomic publishing, and work that a dead process left.

Nothing here relies on a lock. Everything is made under a unique name on the filesystem where it
will stay, forced to the disk, and renamed into place: a reader sees all of it or nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

# Of another host nobody here can tell whether a process still lives. No pull takes this long.
ABANDONED_AFTER_SECONDS = 7 * 24 * 3600
_WORK_NAME = re.compile(r"(?P<host>.+)\.(?P<process>\d+)\.[0-9a-f]{16}")


@contextlib.contextmanager
def work_directory(parent: Path) -> Iterator[Path]:
    """Make a directory of this process's own below `parent`, removed at the end, for what is going
    to be published on that filesystem. Removes what dead processes of this host left there."""
    parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(parent)
    path = parent / f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(8)}"
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        remove_tree(path)


def publish_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def publish_directory(made: Path, path: Path) -> bool:
    """Move a finished directory into place. False if another process was first: that one stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sync_filesystem(made)
    try:
        made.rename(path)
    except OSError as error:
        # rename(2): a directory can replace an empty one only.
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    _sync_directory(path.parent)
    return True


def remove_tree(path: Path) -> None:
    """Remove a directory whatever the modes of its files and directories are."""

    def make_writable_and_retry(function: object, name: str, error: object) -> None:
        directory = os.path.dirname(name)
        os.chmod(directory, 0o700)
        if os.path.isdir(name) and not os.path.islink(name):
            os.chmod(name, 0o700)
            shutil.rmtree(name)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)

    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path, onerror=make_writable_and_retry)


def _remove_abandoned(parent: Path) -> None:
    """Remove the work directories of processes that are no more, and only these."""
    for entry in os.scandir(parent):
        match = _WORK_NAME.fullmatch(entry.name)
        if match and _is_abandoned(match["host"], int(match["process"]), entry):
            remove_tree(Path(entry.path))


def _is_abandoned(host: str, process: int, entry: os.DirEntry[str]) -> bool:
    if host == socket.gethostname():
        return not os.path.exists(f"/proc/{process}")
    with contextlib.suppress(FileNotFoundError):
        return time.time() - entry.stat().st_mtime > ABANDONED_AFTER_SECONDS
    return False


def _sync_filesystem(path: Path) -> None:
    """Force all written data of the filesystem to disk: one call instead of fsync(2) per file."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if library.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
