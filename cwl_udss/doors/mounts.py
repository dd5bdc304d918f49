# SPDX-License-Identifier: Apache-2.0
"""What a caller has mounted in a container, however it is written."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from cwl_udss.sandbox import Bind


def last_of_each(binds: Iterable[Bind]) -> tuple[Bind, ...]:
    """Return the binds without those that another hides: callers name some twice."""
    return tuple({posixpath.normpath(bind.destination): bind for bind in binds}.values())


def is_within(path: str, places: Iterable[str]) -> bool:
    """Say whether a path of the container is one of these places, or in one."""
    path = posixpath.normpath(path)
    return any(
        path == place or path.startswith(f"{place.rstrip('/')}/")
        for place in map(posixpath.normpath, places)
    )
