# SPDX-License-Identifier: Apache-2.0
"""Symbolic links that lead out of a directory, and what becomes of them when it is elsewhere.

A link that stays within its directory is part of it, and goes with it. What one leads to outside,
a staged reference beside its index say, must be shown in its place, or be put there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Callable, Iterator

from cwl_udss.files import copies

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
        for path in links(root):
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


def links(directory: str) -> Iterator[str]:
    """All symbolic links below a directory, as far as it may be read; none is followed."""
    pending = [directory]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except PermissionError:
            continue
        pending.extend(x.path for x in entries if x.is_dir(follow_symlinks=False))
        yield from (x.path for x in entries if x.is_symlink())


def copy_directory(
    source: str,
    target: str,
    *,
    is_followed: Callable[[str, str], bool] = lambda _link, _target: True,
    only_readable: bool = False,
) -> str:
    """Copy a directory so that all is in the copy: with what its links lead to outside of it, if
    they are to be followed. Pipes and the like are left out, with a warning; with `only_readable`
    so is what may not be read."""
    copies.copytree(source, target, symlinks=True, ignore=_left_out(target, only_readable))
    make_whole(target, source, is_followed=is_followed, only_readable=only_readable)
    return target


def make_whole(
    directory: str,
    origin: str,
    copy: Callable[[str, str], object] = copies.copy2,
    *,
    is_followed: Callable[[str, str], bool] = lambda _link, _target: True,
    only_readable: bool = False,
) -> None:
    """Put what the links of a directory lead to outside of it in their place; leave out, with a
    warning, those that lead nowhere, or to a directory that holds this one, or that are not to be
    followed.

    `origin` is the directory itself, or what it is a copy of as it stands.
    """
    origin = os.path.realpath(origin)
    _keep_within(directory, origin)
    leading_out = links_out(origin, lambda x, to: not is_within(origin, to) and is_followed(x, to))
    for relative, target in list(leading_out):
        place, link = os.path.join(directory, relative), os.path.join(origin, relative)
        if not os.path.islink(place):  # what holds it has been left out
            continue
        reason = _why_left_out(link, target, only_readable)
        with _writable(os.path.dirname(place)):
            os.unlink(place)
            if target is None or reason:
                _warn_of(link, reason)
            elif os.path.isdir(target):
                ignore = _left_out(place, only_readable)
                copies.copytree(target, place, symlinks=True, copy=copy, ignore=ignore)
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
    for link in list(links(origin)):
        target = _target(link)
        if target is None or not is_within(target, origin):
            continue
        text = inner_text(link, target, origin)
        place = os.path.join(directory, os.path.relpath(link, origin))
        if text != os.readlink(link) and os.path.islink(place):
            with _writable(os.path.dirname(place)):
                os.unlink(place)
                os.symlink(text, place)


def _left_out(copy: str, only_readable: bool) -> Callable[[str, list[str]], set[str]]:
    """What shutil.copytree() is to ignore: what cannot be copied, and the copy itself, if it is in
    what is copied (an output directory in an input)."""
    above, own = os.path.split(os.path.realpath(copy))

    def ignored(directory: str, names: list[str]) -> set[str]:
        left_out = {own} if own in names and os.path.realpath(directory) == above else set()
        for name in names:
            path = os.path.join(directory, name)
            reason = "" if os.path.islink(path) else _why_left_out(path, path, only_readable)
            if reason:
                _warn_of(path, reason)
                left_out.add(name)
        return left_out

    return ignored


def _why_left_out(path: str, target: str | None, only_readable: bool) -> str:
    """Why something cannot be in a copy, "" if it can; `target` is where it leads, or itself."""
    if target is None:
        way = "out of the directory" if os.path.exists(path) else "that leads nowhere"
        return f"a link {way}"
    mode = os.stat(target).st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        return "neither a file nor a directory"
    needed = os.R_OK | os.X_OK if stat.S_ISDIR(mode) else os.R_OK
    return "it may not be read" if only_readable and not os.access(target, needed) else ""


def _warn_of(path: str, reason: str) -> None:
    _logger.warning("left out %s: %s", path, reason)


@contextlib.contextmanager
def _writable(directory: str) -> Iterator[None]:
    """Let names in a directory of ours be changed, whatever mode it has of what it is a copy of."""
    mode = stat.S_IMODE(os.stat(directory).st_mode)
    if mode & stat.S_IWUSR:
        yield
        return
    os.chmod(directory, mode | stat.S_IWUSR)
    try:
        yield
    finally:
        os.chmod(directory, mode)


def _target(link: str) -> str | None:
    return os.path.realpath(link) if os.path.exists(link) else None
