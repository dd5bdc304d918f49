# SPDX-License-Identifier: Apache-2.0
"""Modes and times of a step's inputs, which Landlock does not protect: compared after the step."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from itertools import islice

from cwl_udss.sandbox import Bind

_logger = logging.getLogger(__name__)

# Of inputs with more in them only so many are compared: each takes some microseconds.
_MOST = 10_000
_SHOWN = 3


class Metadata:
    """What was true before the step, of inputs and of what is in them."""

    def __init__(self, binds: Iterable[Bind]) -> None:
        sources = [os.path.realpath(bind.source) for bind in binds if not bind.writable]
        self._before = {path: _state(path) for path in islice(_all_paths(sources), _MOST)}

    def changed(self) -> list[str]:
        """Return the paths whose mode, owner, or time of the last change is another now."""
        return [path for path, state in self._before.items() if _state(path) != state]

    def compare(self) -> None:
        """Say in the log what was changed."""
        changed = self.changed()
        if changed:
            more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
            _logger.warning(
                "modes or times of inputs have changed while a step ran that could change them: "
                "%s%s",
                ", ".join(changed[:_SHOWN]),
                more,
            )


def _all_paths(sources: Iterable[str]) -> Iterator[str]:
    for source in sources:
        yield source
        for directory, names, files in os.walk(source):
            yield from (os.path.join(directory, name) for name in (*names, *files))


def _state(path: str) -> tuple[int, int, int, int] | None:
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return status.st_mode, status.st_mtime_ns, status.st_uid, status.st_gid
