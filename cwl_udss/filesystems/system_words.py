# SPDX-License-Identifier: Apache-2.0
"""What the system's errors say of files, with what a person needs to know to do something: which
filesystem is full, and whose a directory is."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from cwl_udss.filesystems.filesystem import look_at, user_name

_FULL_BYTES = 1 << 20
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM)
# What errors that name no file are about: getcwd(3), and write(2).
_NAMELESS = {
    errno.ENOENT: "the current directory",
    errno.EPIPE: "what was printed is read by nobody any more",
} | dict.fromkeys(NO_ROOM, "standard output, or a file that was being written")


def system_words(error: OSError) -> str:
    """Return what has failed, and on what."""
    paths = [os.fsdecode(path) for path in (error.filename, error.filename2) if path is not None]
    if isinstance(error, shutil.Error):  # of a tree, a tuple for each file; the first says enough
        _, target, problem = error.args[0][0]
        return f"{problem}{_in_brackets(error.errno, Path(target))}"
    if error.errno is None:
        return str(error)
    text = error.strerror or str(error)
    if not paths:
        return f"{_NAMELESS.get(error.errno, 'a file')}: {text}"
    return f"{', '.join(paths)}: {text}{_in_brackets(error.errno, Path(paths[-1]))}"


def place_words(number: int | None, place: Path) -> str:
    """Return what is to be known of a place at which an error of that number has come up: "" if
    there is nothing."""
    with contextlib.suppress(OSError):
        filesystem = look_at(place)
        where = f"{filesystem.mount_point} ({filesystem.type_name})"
        if number in _NOT_ALLOWED:
            status = filesystem.path.stat()
            owner, mode = user_name(status.st_uid), stat.S_IMODE(status.st_mode)
            return f"{filesystem.path} is {owner}'s, with mode {mode:04o}"
        if number == errno.EROFS:
            return f"{where} is mounted read-only"
        if filesystem.free_inodes == 0:
            return f"{where} has no room for another file: its inodes are used up"
        from rich.filesize import decimal  # noqa: PLC0415 - most commands do without

        free = decimal(filesystem.free_bytes)
        if filesystem.free_bytes < _FULL_BYTES:
            return f"{where} has {free} free"
        if number in NO_ROOM:  # what did not fit has been removed again
            return f"{where} has {free} free, which is not enough"
    return ""


def full_places(places: Iterable[Path]) -> list[str]:
    """Return what is to be known of filesystems that have no room left, each once."""
    return list(filter(None, dict.fromkeys(place_words(None, place) for place in places)))


def _in_brackets(number: int | None, place: Path) -> str:
    words = place_words(number, place)
    return f" ({words})" if words else ""
