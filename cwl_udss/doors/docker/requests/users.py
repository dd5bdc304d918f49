# SPDX-License-Identifier: Apache-2.0
"""Who the caller is in a container: there is one user only, by whatever number it was asked for."""

from __future__ import annotations

import os
from pathlib import Path

from cwl_udss.doors.docker.errors import ContainerError
from cwl_udss.surroundings.identity import entries


def inner_user(wanted: str, userns: str, root: Path) -> tuple[int, int]:
    """Return the ids that the caller's own have inside: those of USER[:GROUP], names of the image's
    or numbers; without, root's, as the image's files seem to be."""
    if not wanted:
        return (os.getuid(), os.getgid()) if userns.startswith("keep-id") else (0, 0)
    user, _, group = wanted.partition(":")
    user_id, group_id = _user(user, root)
    return user_id, _group(group, root) if group else group_id


def home_of(user_id: int, root: Path) -> str:
    """Return the home directory that the image has for a user, as docker does."""
    for fields in entries(root, "passwd"):
        if len(fields) >= 6 and fields[2] == str(user_id) and fields[5]:
            return fields[5]
    return "/root" if not user_id else "/"


def _user(name: str, root: Path) -> tuple[int, int]:
    for fields in entries(root, "passwd"):
        if len(fields) >= 4 and name in (fields[0], fields[2]) and fields[2].isdecimal():
            return int(fields[2]), int(fields[3]) if fields[3].isdecimal() else 0
    if name.isdecimal():
        return int(name), os.getgid() if int(name) == os.getuid() else 0
    if name == "root":
        return 0, 0
    raise ContainerError(f"unable to find user {name}: no matching entries in passwd file")


def _group(name: str, root: Path) -> int:
    for fields in entries(root, "group"):
        if len(fields) >= 3 and name in (fields[0], fields[2]) and fields[2].isdecimal():
            return int(fields[2])
    if name.isdecimal():
        return int(name)
    if name == "root":
        return 0
    raise ContainerError(f"unable to find group {name}: no matching entries in group file")
