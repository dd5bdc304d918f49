# SPDX-License-Identifier: Apache-2.0
"""What the steps of a run have made, as far as other steps are shown it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

from cwl_udss.links import is_within, links_out
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

    def check(self, path: str) -> list[str]:
        """Remove links out of a directory that a step has made there, changing it in place: nobody
        has seen where they lead. Returns a line for each.

        The caller's own directories are left as they are, and not trusted from then on.
        """
        directory = os.path.realpath(path)
        if not self._is_made(directory):
            self._changed.add(directory)
            return []
        removed = []
        known = dict(self._leading_out(directory))
        found = links_out(directory, lambda _link, _target: True) if os.path.isdir(path) else ()
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
            found = links_out(directory, lambda link, _: self._is_made(os.path.dirname(link)))
            known = tuple((link, target) for link, target in found if target is not None)
            with self._lock:
                self._links[directory] = known
        return known

    def _is_made(self, directory: str) -> bool:
        above = directory
        while above not in self._made:
            if above in self._changed or above == "/":
                return False
            above = os.path.dirname(above)
        return above not in self._changed
