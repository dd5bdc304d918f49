# SPDX-License-Identifier: Apache-2.0
"""Symbolic links that lead out of a directory, and what becomes of them when it is elsewhere.

A link that stays within its directory is part of it, and goes with it. What one leads to outside,
a staged reference beside its index say, must be shown in its place, or be put there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator

from cwl_udss import copies

_logger = logging.getLogger(__name__)

# Of links that are only there by way of another. They multiply: two to the same directory with two
# to the next, and so on, would never end.
_MOST_NESTED = 10_000


def links_out(
    directory: str, is_followed: Callable[[str, str], bool]
) -> Iterator[tuple[str, str | None]]:
    """Each link that leads out of a directory, by relative path, and where to: a path without
    links, or None for one that leads nowhere, in a circle, or that is not to be followed.

    What is out of a directory that such a link leads to comes next, as if that were in its place.
    `is_followed` is asked for a link and where it leads.
    """
    nested = 0
    top = os.path.realpath(directory)
    pending: list[tuple[str, str, tuple[str, ...]]] = [("", top, (top,))]
    while pending:
        below, root, above = pending.pop()
        for path in _links(root):
            target = _target(path)
            if target is not None and is_within(target, root):
                continue
            nested += bool(below)
            if target is not None and (
                target in above or nested > _MOST_NESTED or not is_followed(path, target)
            ):
                target = None
            relative = os.path.join(below, os.path.relpath(path, root))
            yield relative, target
            if target is not None and os.path.isdir(target):
                pending.append((relative, target, (*above, target)))


def copy_directory(source: str, target: str) -> str:
    """Copy a directory so that all is in the copy: with what its links lead to outside of it."""
    copies.copytree(source, target, symlinks=True)
    make_whole(target, source)
    return target


def make_whole(
    directory: str, origin: str, copy: Callable[[str, str], object] = copies.copy2
) -> None:
    """Put what the links of a directory lead to outside of it in their place; leave out, with a
    warning, those that lead nowhere, or to a directory that holds this one.

    `origin` is the directory itself, or what it is a copy of as it stands.
    """
    origin = os.path.realpath(origin)
    _keep_within(directory, origin)
    for relative, target in list(links_out(origin, lambda _, x: not is_within(origin, x))):
        place = os.path.join(directory, relative)
        os.unlink(place)
        if target is None:
            _logger.warning("left out %s/%s: a link that leads nowhere", origin, relative)
        elif os.path.isdir(target):
            copies.copytree(target, place, symlinks=True, copy=copy)
            _keep_within(place, target)
        else:
            copy(target, place)


def is_within(path: str, directory: str) -> bool:
    """Say whether a path is that of a directory, or of something below. Both are without links."""
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")


def inner_text(link: str, target: str, root: str) -> str:
    """What a link in a directory is to say to lead to something else in it, also when that has
    another name or is elsewhere: its own words, if they do not leave the directory on their way.

    `target` and `root`, the directory, are without links.
    """
    text = os.readlink(link)
    parent = os.path.realpath(os.path.dirname(link))
    way = os.path.normpath(os.path.join(parent, text))
    if not is_within(way, root) or os.path.realpath(way) != target:
        return os.path.relpath(target, parent)
    if not os.path.isabs(text) and ".." not in text.split("/"):
        return text
    return os.path.relpath(way, parent)


def _keep_within(directory: str, origin: str) -> None:
    """Have links of a directory that lead to something in it say so without leaving it."""
    for link in list(_links(origin)):
        target = _target(link)
        if target is None or not is_within(target, origin):
            continue
        text = inner_text(link, target, origin)
        if text != os.readlink(link):
            place = os.path.join(directory, os.path.relpath(link, origin))
            os.unlink(place)
            os.symlink(text, place)


def _target(link: str) -> str | None:
    return os.path.realpath(link) if os.path.exists(link) else None


def _links(directory: str) -> Iterator[str]:
    """All symbolic links below a directory; none is followed."""
    with os.scandir(directory) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_symlink():
            yield entry.path
        elif entry.is_dir():
            yield from _links(entry.path)
