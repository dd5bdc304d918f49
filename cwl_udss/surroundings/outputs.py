# SPDX-License-Identifier: Apache-2.0
"""What a step leaves behind, made safe to read on the host.

The step's paths mean something else on the host: a link to `/etc/passwd` showed the image's, and
would show the host's to whoever collects it. A tool must not get at files of the caller that way.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator

from cwl_udss.files.links import inner_text, is_within
from cwl_udss.files.paths import follow_links
from cwl_udss.sandbox import Bind


class View:
    """What a step was given: where the host has the paths that the step knows."""

    def __init__(self, binds: tuple[Bind, ...]) -> None:
        self._sources = {
            posixpath.normpath(bind.destination): os.path.realpath(bind.source) for bind in binds
        }
        self._on_host = frozenset(self._sources.values())

    def source(self, path: str) -> str | None:
        """Return the host's path of what the step has at a path without links, if it was given."""
        for above in _path_and_parents(path):
            if above in self._sources:
                return posixpath.normpath(
                    posixpath.join(self._sources[above], posixpath.relpath(path, above))
                )
        return None

    def resolve(self, path: str) -> str | None:
        """Follow a path of the step's; return where it leads on the host, if it was given that."""

        def link_target(path: str) -> str | None:
            source = self.source(path)
            try:
                return None if source is None else os.readlink(source)
            except OSError:  # not a link
                return None

        try:
            return self.source(follow_links(path, link_target))
        except OSError:
            return None

    def contains(self, path: str) -> bool:
        """Say whether a path of the host leads to something that the step was given."""
        return any(above in self._on_host for above in _path_and_parents(os.path.realpath(path)))


def restore_access(directory: str) -> None:
    """Give their owner back directories and files on which a step has set modes that forbid it."""
    for _ in _entries(directory):
        pass


def confine(directory: str, destination: str, view: View) -> list[str]:
    """Let nothing in an output directory lead out of what the step was given.

    `directory` is the host's path of what the step knew as `destination`. Links are made to say on
    the host what they said in the sandbox; those that lead elsewhere or nowhere are removed, as are
    sockets and the like, which mean nothing without their processes. Returns a line for each
    removal.
    """
    root = os.path.realpath(directory)
    removed = []
    links: list[tuple[str, str, str | None]] = []  # all resolved before any is changed
    for entry in _entries(directory):
        seen = posixpath.join(destination, os.path.relpath(entry.path, directory))
        if entry.is_symlink():
            links.append((entry.path, seen, view.resolve(seen)))
        elif not entry.is_dir() and not entry.is_file():
            os.unlink(entry.path)
            removed.append(f"{seen}: neither a file nor a directory")
    for link, seen, target in links:
        if target is None:
            removed.append(f"{seen}: a link out of the output directory")
            os.unlink(link)
        elif not os.path.exists(target):
            removed.append(f"{seen}: a link that leads nowhere")
            os.unlink(link)
        else:
            _point(link, target, root)
    return removed


def _point(link: str, target: str, root: str) -> None:
    """Make a link lead to `target`; relative if that is in the output directory, parts of which
    get other names and places."""
    text = inner_text(link, target, root) if is_within(target, root) else target
    if text != os.readlink(link):
        os.unlink(link)
        os.symlink(text, link)


def _entries(directory: str) -> Iterator[os.DirEntry[str]]:
    """All entries below a directory, made accessible to their owner; links are not followed."""
    _add_mode(directory, stat.S_IRWXU)
    with os.scandir(directory) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(entry.path)
        elif entry.is_file(follow_symlinks=False):
            _add_mode(entry.path, stat.S_IRUSR)
        yield entry


def _add_mode(path: str, wanted: int) -> None:
    mode = stat.S_IMODE(os.lstat(path).st_mode)
    if mode & wanted != wanted:
        os.chmod(path, mode | wanted)


def _path_and_parents(path: str) -> Iterator[str]:
    yield path
    while path != "/":
        path = posixpath.dirname(path)
        yield path
