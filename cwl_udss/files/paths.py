# SPDX-License-Identifier: Apache-2.0
"""Paths as a process in a sandbox would follow them, resolved without leaving it."""

from __future__ import annotations

import errno
import os
import posixpath
from collections import deque
from collections.abc import Callable
from typing import TypeVar

_Place = TypeVar("_Place")

MAXIMUM_SYMLINKS = 40  # as the kernel: path_resolution(7)


def components(path: str) -> list[str]:
    """Return the names that make up a path."""
    return [name for name in path.split("/") if name not in ("", ".")]


def follow_links(path: str, link_target: Callable[[str], str | None]) -> str:
    """Return the absolute path without symbolic links that `path` leads to, `/` being the top.

    `link_target` says what the link at a path holds, None if there is no link; it is only asked
    about paths whose parents are links no more. Raises OSError (ELOOP) if links lead in a circle.
    """
    return walk(path, "/", posixpath.join, posixpath.dirname, link_target)


def walk(
    path: str,
    top: _Place,
    child: Callable[[_Place, str], _Place],
    parent: Callable[[_Place], _Place],
    link_target: Callable[[_Place], str | None],
) -> _Place:
    """Go where a path leads, from `top`, the parent of which is itself; see follow_links()."""
    pending = deque(components(path))
    place = top
    links = 0
    while pending:
        name = pending.popleft()
        if name == "..":
            place = parent(place)
            continue
        entry = child(place, name)
        target = link_target(entry)
        if target is None:
            place = entry
            continue
        links += 1
        if links > MAXIMUM_SYMLINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith("/"):
            place = top
        pending.extendleft(reversed(components(target)))
    return place
