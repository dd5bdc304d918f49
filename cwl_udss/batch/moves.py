# SPDX-License-Identifier: Apache-2.0
"""Where a run's results are moved to, its last act: a driver that dies at that has lost nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cwl_udss.errors import StoreError
from cwl_udss.files import copies
from cwl_udss.staging import publish_file


class Moves:
    """What was going to be moved where, written down before the first is."""

    def __init__(self, path: Path) -> None:
        """`path` is where it is written, on the filesystem that the results are on."""
        self._path = path
        self._places: Mapping[str, str] = {}
        self._noted = 0.0

    def read(self) -> None:
        """Know what an earlier driver has written, unless its run is over. Raises OSError, and
        StoreError if that is something else."""
        try:
            with open(self._path, encoding="ascii") as stream:
                self._places = dict(json.load(stream))
                self._noted = os.fstat(stream.fileno()).st_mtime
        except FileNotFoundError:
            return
        except (TypeError, ValueError) as error:
            raise StoreError(f"{self._path} is not what cwl-udss writes", "remove it") from error

    def note(self, moves: Sequence[tuple[str, str]], work: Path) -> None:
        """Write down what is going to be moved, and where; `work` is a work directory on the same
        filesystem. Raises OSError."""
        publish_file(self._path, json.dumps(moves).encode("ascii"), work)

    def forget(self) -> None:
        """Let it be: the run is over, and what was moved is the person's."""
        self._path.unlink(missing_ok=True)

    def put_back(self, outputs: Path, sizes: Mapping[str, int | None]) -> None:
        """Have a step's output directory be what it was, as far as that is still where it was moved
        to. `sizes` is what was in it (see spec.StepResult). Raises OSError."""
        if not self._places:
            return
        top = os.path.realpath(outputs)
        for name in ("", *sorted(sizes)):
            path = os.path.join(top, name) if name else top
            place = moved_to(path, self._places)
            if place is None or os.path.lexists(path) or not os.path.lexists(place):
                continue
            if os.path.isdir(place) and not os.path.islink(place):
                os.mkdir(path)
            elif self._is_it(place, sizes.get(name)):
                copies.move(place, path)

    def _is_it(self, place: str, size: int | None) -> bool:
        """Whether a file is the one that was moved: such are older, whatever they are called."""
        status = os.lstat(place)
        return size in (None, status.st_size) and status.st_mtime <= self._noted


def moved_to(path: str, places: Mapping[str, str]) -> str | None:
    """Return where a path has been moved to, by itself or with what it is in; None if nowhere."""
    above = path
    while above not in places:
        if above in ("/", ""):
            return None
        above = os.path.dirname(above)
    return places[above] + path[len(above) :]
