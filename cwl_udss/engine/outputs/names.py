# SPDX-License-Identifier: Apache-2.0
"""Names that differ: of steps, and of outputs that are to be in one place."""

from __future__ import annotations


class UniqueNames:
    """Names that nobody has yet: the stem itself, then the stem with `_2`, and so on.

    cwltool.process.uniquename begins at 2 each time.
    """

    def __init__(self, taken: set[str]) -> None:
        """Others may add to `taken`, nobody may remove from it."""
        self._taken = taken
        self._last: dict[str, int] = {}

    def __call__(self, stem: str) -> str:
        """Return the next name for a stem."""
        number = self._last.get(stem, 0)
        name = ""
        while not name or name in self._taken:
            number += 1
            name = stem if number == 1 else f"{stem}_{number}"
        self._last[stem] = number
        self._taken.add(name)
        return name
