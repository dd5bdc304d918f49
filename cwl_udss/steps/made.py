# SPDX-License-Identifier: Apache-2.0
"""What the steps of a run have made, as far as other steps are shown it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator

from cwl_udss.files.links import copy_directory, is_within, links, links_out
from cwl_udss.sandbox import Bind


class MadeDirectories:
    """The output directories of steps that have ended, for any thread.

    outputs.confine() has seen to it that links there lead to what their step was given. So another
    step may be shown that: it sees of a directory what the step saw that made it. Nothing of the
    kind is known of the caller's own directories: their links stay what they are, and lead nowhere.
    """

    def __init__(self) -> None:
        self._made: set[str] = set()
        self._changed: set[str] = set()
        self._lock = threading.Lock()
        self._links: dict[str, tuple[tuple[str, str], ...]] = {}

    def add(self, directory: str) -> None:
        """Note an output directory."""
        with self._lock:
            self._made.add(os.path.realpath(directory))

    def remember(self, path: str) -> None:
        """Look at the links of a directory that a step is about to change in place."""
        self._leading_out(os.path.realpath(path))

    def copy(self, source: str, target: str) -> None:
        """Copy a directory for a step that may change the copy: with what it would be shown of the
        directory itself."""
        copy_directory(source, target, is_followed=self.is_followed)

    def check(self, path: str, destination: str) -> list[str]:
        """Remove links out of a directory that a step has made there, changing it in place: nobody
        has seen where they lead. Returns a line for each. Links to what the step knew to be at
        `destination` lead there for others, too.

        The caller's own directories are left as they are, and not trusted from then on.
        """
        directory = os.path.realpath(path)
        if not self._is_made(directory):
            self._changed.add(directory)
            return []
        removed = []
        known = dict(self._leading_out(directory))
        found: Iterable[tuple[str, str | None]] = ()
        if os.path.isdir(directory):
            _point_within(directory, destination)
            found = links_out(directory, lambda _link, _target: True)
        for relative, target in list(found):
            link = os.path.join(directory, relative)
            is_in_it = is_within(os.path.realpath(os.path.dirname(link)), directory)
            if is_in_it and target != known.get(relative):
                os.unlink(link)
                removed.append(f"{link}: a link out of a directory that was changed in place")
        with self._lock:
            self._links.clear()
        return removed

    def binds(self, source: str, destination: str) -> Iterator[Bind]:
        """Yield what is to be bound beside a directory: what its links lead to outside of it."""
        for relative, target in self._leading_out(os.path.realpath(source)):
            yield Bind(source=target, destination=f"{destination}/{relative}")

    def _leading_out(self, directory: str) -> tuple[tuple[str, str], ...]:
        with self._lock:
            known = self._links.get(directory)
            if known is None and not self._is_made(directory):
                known = ()
        if known is None and not os.path.isdir(directory):
            known = ()
        if known is None:  # each directory is looked through once in a run
            found = links_out(directory, self.is_followed)
            known = tuple((link, target) for link, target in found if target is not None)
            with self._lock:
                self._links[directory] = known
        return known

    def is_followed(self, link: str, _target: str) -> bool:
        """Say whether what a link leads to may be shown in its place: the step that made it saw it
        there."""
        return self._is_made(os.path.dirname(link))

    def _is_made(self, directory: str) -> bool:
        above = directory
        while above not in self._made:
            if above in self._changed or above == "/":
                return False
            above = os.path.dirname(above)
        return above not in self._changed


def _point_within(directory: str, destination: str) -> None:
    """Have links say where they lead in a directory by a way that is the same for all, if they say
    it by its path in a sandbox."""
    for link in list(links(directory)):
        text = os.path.normpath(os.readlink(link))
        if is_within(text, destination):
            target = os.path.join(directory, os.path.relpath(text, destination))
            os.unlink(link)
            os.symlink(os.path.relpath(target, os.path.dirname(link)), link)
