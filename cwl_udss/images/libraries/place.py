# SPDX-License-Identifier: Apache-2.0
"""Where a library is, and by which rule its images are named: `NAMING:DIR`, or `DIR` for a store of
cwl-udss."""

from __future__ import annotations

from pathlib import Path

from cwl_udss.images.libraries.naming import NAMINGS, Naming
from cwl_udss.records import record

STORE = "store"
"""What stands for a store of cwl-udss itself."""


@record(frozen=True, kw_only=True)
class LibraryPlace:
    """A directory with images."""

    path: Path
    naming: str = STORE
    """A name of NAMINGS, or STORE."""

    @property
    def is_store(self) -> bool:
        """Whether it is a store of cwl-udss."""
        return self.naming == STORE

    @property
    def convention(self) -> Naming:
        """How images are named there; of stores there is none."""
        return NAMINGS[self.naming]

    def __str__(self) -> str:
        return str(self.path) if self.naming == STORE else f"{self.naming}:{self.path}"


def parse_place(text: str) -> LibraryPlace:
    """Read a place as people write it. Raises ValueError with what would be right."""
    naming, colon, path = text.partition(":")
    if not colon or "/" in naming:
        naming, path = STORE, text
    if naming != STORE:
        try:
            parse_naming(naming)
        except ValueError as error:
            raise ValueError(f"{error}; a directory of that name is ./{text}") from error
    if not path:
        raise ValueError(f"write {naming}:DIR")
    # No shell does so behind a colon.
    if path.startswith("~/"):
        return LibraryPlace(naming=naming, path=Path(path).expanduser().absolute())
    return LibraryPlace(naming=naming, path=Path(path).absolute())


def parse_naming(text: str) -> Naming:
    """Return the rule with a name. Raises ValueError with the nearest, and all."""
    try:
        return NAMINGS[text]
    except KeyError:
        import difflib

        nearest = difflib.get_close_matches(text, NAMINGS, n=1, cutoff=0)[0]
        raise ValueError(
            f"{text!r} is no way to name images, did you mean {nearest!r}? "
            f"There are {', '.join(NAMINGS)}"
        ) from None
