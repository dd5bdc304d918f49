# SPDX-License-Identifier: Apache-2.0
"""What a caller has mounted in a container, however it is written."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from dataclasses import replace

from cwl_udss.sandbox import Bind


def last_of_each(binds: Iterable[Bind]) -> tuple[Bind, ...]:
    """Return the binds without those that another hides: callers name some twice."""
    return tuple({posixpath.normpath(bind.destination): bind for bind in binds}.values())


def along_links(binds: Iterable[Bind], shown: Iterable[Bind] = ()) -> tuple[Bind, ...]:
    """Return the binds, with those that a symbolic link is on the way to where that leads.

    That is so in directories of this machine which are shown at their own paths, also by `shown`.
    Sandboxes follow no link of such a directory; but Nextflow names a work directory as its user
    has named it, and people have links to where there is room in their homes.
    """
    binds = tuple(binds)
    own = [bind.source for bind in (*shown, *binds) if bind.source == bind.destination]
    return tuple(
        replace(bind, destination=os.path.realpath(bind.destination))
        if any(bind.destination != path and is_within(bind.destination, [path]) for path in own)
        else bind
        for bind in binds
    )


def is_within(path: str, places: Iterable[str]) -> bool:
    """Say whether a path of the container is one of these places, or in one."""
    path = posixpath.normpath(path)
    return any(
        path == place or path.startswith(f"{place.rstrip('/')}/")
        for place in map(posixpath.normpath, places)
    )
