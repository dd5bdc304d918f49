# SPDX-License-Identifier: Apache-2.0
"""System calls that make a view of files, as data; paths are of the host, or relative."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterator

from cwl_udss.runtimes.machine_code.program import Call, Variable

AT_CWD = -100
"""The current directory: fcntl.h."""
_OPEN_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_ATTRIBUTES = struct.Struct("=4Q")  # struct mount_attr of mount_setattr(2)
_FILE = "file"
_REMOUNT_BIND = 32 | 4096  # linux/mount.h


def write_file(path: str, content: bytes) -> Iterator[Call]:
    """Make a file, which everybody may read."""
    purpose = "a generated file cannot be written"
    name, file = os.fsencode(path) + b"\0", Variable(_FILE)
    arguments = (AT_CWD, name, _OPEN_NEW, 0o644)
    yield Call(name="openat", arguments=arguments, purpose=purpose, result=_FILE)
    if content:
        yield Call(name="write", arguments=(file, content, len(content)), purpose=purpose)
    yield Call(name="close", arguments=(file,), purpose=purpose)


def mount(
    source: str, target: str, kind: str | None, flags: int, *, options: str = "", purpose: str = ""
) -> Call:
    """Mount something, with the flags of linux/mount.h."""
    return Call(
        name="mount",
        arguments=(
            _text(source),
            _text(target),
            0 if kind is None else _text(kind),
            flags,
            _text(options) if options else 0,
        ),
        purpose=purpose or f"{_shown(target)} cannot be mounted",
    )


def remount(path: str, flags: int) -> Call:
    """Give flags to a mount; what may not be looked at has none, and is of no use to a step."""
    return Call(
        name="mount",
        arguments=(_text("none"), _text(path), 0, _REMOUNT_BIND | flags, 0),
        purpose=f"{_shown(path)} cannot be protected",
        tolerated=errno.EACCES,
    )


def set_attributes(path: str, attributes: int, flags: int = 0) -> Call:
    """Add attributes to a mount: mount_setattr(2), since Linux 5.12."""
    content = _ATTRIBUTES.pack(attributes, 0, 0, 0)
    return Call(
        name="mount_setattr",
        arguments=(AT_CWD, _text(path), flags, content, len(content)),
        purpose=f"{_shown(path)} cannot be protected",
    )


def mkdir(path: str) -> Call:
    """Make a directory, if there is none."""
    return Call(
        name="mkdirat",
        arguments=(AT_CWD, _text(path), 0o755),
        purpose=f"{_shown(path)} cannot be made",
        tolerated=errno.EEXIST,
    )


def make_file(path: str) -> Call:
    """Make an empty file, if there is none."""
    return Call(
        name="mknodat",
        arguments=(AT_CWD, _text(path), stat.S_IFREG | 0o644, 0),
        purpose=f"{_shown(path)} cannot be made",
        tolerated=errno.EEXIST,
    )


def symlink(target: str, path: str) -> Call:
    """Make a symbolic link."""
    return Call(
        name="symlinkat",
        arguments=(_text(target), AT_CWD, _text(path)),
        purpose=f"{_shown(path)} cannot be made",
    )


def chdir(path: str) -> Call:
    """Enter a directory."""
    return Call(name="chdir", arguments=(_text(path),), purpose=f"{path} cannot be entered")


def _shown(target: str) -> str:
    return target if target.startswith("/") else f"/{target}"


def _text(text: str) -> bytes:
    return os.fsencode(text) + b"\0"
