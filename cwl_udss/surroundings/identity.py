# SPDX-License-Identifier: Apache-2.0
"""The files of /etc that say who and where a step is: the caller by name, and the network."""

from __future__ import annotations

import functools
import os
import pwd
import stat
from pathlib import Path

from cwl_udss.sandbox import HOST_NAME

_OVERFLOW_ID = 65534  # what the kernel shows for ids that are not mapped: user_namespaces(7)
_LOOPBACK = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"
_LARGEST_FILE = 1 << 20


def identity_files(
    root: Path, *, home: str, network: bool, user: tuple[int, int] | None = None
) -> dict[str, bytes]:
    """Return the contents of `/etc/passwd` and its like for a sandbox with this root filesystem.

    The image's own users stay, so that programs find those that they were built with; the caller
    has the same ids as outside, and a name. With other ids inside (`user`) it is who the image says
    has them.
    """
    user_id, group_id = user or (os.getuid(), os.getgid())
    name = _user_name(user_id) if user is None else "root" if not user_id else f"user{user_id}"
    own = [f"{name}:x:{user_id}:{group_id}:{name}:{home}:/bin/sh"]
    own_group = [f"{name}:x:{group_id}:"]
    users, groups = list(_lines(root, "passwd")), list(_lines(root, "group"))
    nobody = f"nobody:x:{_OVERFLOW_ID}:{_OVERFLOW_ID}:nobody:/nonexistent:/usr/sbin/nologin"
    users = [*own, *users, nobody] if user is None else [*users, *own, nobody]
    groups = [*own_group, *groups] if user is None else [*groups, *own_group]
    return {
        "/etc/passwd": _merged(users),
        "/etc/group": _merged([*groups, f"nogroup:x:{_OVERFLOW_ID}:"]),
        "/etc/hosts": _hosts(network=network),
        "/etc/resolv.conf": _host_file("/etc/resolv.conf") if network else b"",
    }


def entries(root: Path, name: str) -> list[list[str]]:
    """Return the fields of the lines of a root filesystem's `/etc/passwd` or `/etc/group`."""
    return [line.split(":") for line in _lines(root, name)]


@functools.cache
def _user_name(user_id: int) -> str:
    """Asked for once: where a directory service knows it, that is slow."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:  # no entry, as with some sites' directory services on compute nodes
        return "user"


def _merged(lines: list[str]) -> bytes:
    """Entries of a passwd(5) or group(5) file; of two with the same name or id the first stays."""
    names: set[str] = set()
    ids: set[str] = set()
    kept = []
    for line in lines:
        fields = line.split(":")
        if len(fields) >= 3 and fields[0] not in names and fields[2] not in ids:
            names.add(fields[0])
            ids.add(fields[2])
            kept.append(line)
    return "".join(f"{line}\n" for line in kept).encode("utf-8", "surrogateescape")


@functools.cache
def _lines(root: Path, name: str) -> tuple[str, ...]:
    """The lines of a file in the image's /etc; none if a symbolic link is on the way there, which
    could lead out to the host. Read once for all steps: an image does not change."""
    directory = root / "etc"
    path = directory / name
    try:
        if not stat.S_ISDIR(directory.lstat().st_mode) or not stat.S_ISREG(path.lstat().st_mode):
            return ()
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_FILE)
    except FileNotFoundError:
        return ()
    return tuple(content.decode("utf-8", "surrogateescape").splitlines())


def _hosts(*, network: bool) -> bytes:
    own = f"{_LOOPBACK}127.0.0.1 {HOST_NAME}\n".encode()
    return own + _host_file("/etc/hosts") if network else own


def _host_file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:  # a host without it resolves names in another way, or not at all
        return b""
