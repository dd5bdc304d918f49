# SPDX-License-Identifier: Apache-2.0
"""Paths of a layer's members, and what no path can be."""

from __future__ import annotations

from cwl_udss.errors import InvalidImage

LONGEST_PATH = 4095
LONGEST_NAME = 255


def path_components(path: bytes) -> list[bytes]:
    """A member's path in pieces; absolute is taken as below the root, as tar(1) does.

    Raises InvalidImage if it leads out of the image, or no file system could hold it.
    """
    components: list[bytes] = []
    for name in path.split(b"/"):
        if name in (b"", b"."):
            continue
        if name == b"..":
            if not components:
                raise invalid(path, "a path that leaves the image")
            components.pop()
        else:
            components.append(name)
    check_path(path, path)
    return components


def check_path(path: bytes, unchecked: bytes) -> None:
    """Raise InvalidImage if no file system could hold a path, of which `unchecked` has not been
    looked at before."""
    if b"\0" in unchecked:
        raise invalid(path, "a name that no file system can hold")
    if len(path) > LONGEST_PATH:
        raise invalid(path, "a path that is too long")


def invalid(path: bytes, problem: str) -> InvalidImage:
    """Return what is to be raised for a member that is malformed."""
    name = path[:80].decode(errors="replace")
    return InvalidImage(f"a layer has {problem} ({name!r})", "the image cannot be used")
