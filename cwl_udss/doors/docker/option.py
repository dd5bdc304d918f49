# SPDX-License-Identifier: Apache-2.0
"""An option of the doors podman and docker, and what becomes of it."""

from __future__ import annotations

import enum

from cwl_udss.records import record


class Kind(enum.Enum):
    """What an option takes."""

    FLAG = "nothing, or =true or =false"
    VALUE = "a value, of which the last counts"
    LIST = "a value, each time"


class Fate(enum.Enum):
    """What becomes of an option."""

    HONOURED = "done"
    IGNORED = "accepted, and nothing is done"
    REFUSED = "refused"


@record(frozen=True)
class Option:
    """One option, by all of its names, the long one first."""

    names: tuple[str, ...]
    kind: Kind = Kind.VALUE
    fate: Fate = Fate.HONOURED
    note: str = ""
    """What is different from what the programs do, or why it is refused."""

    @property
    def attribute(self) -> str:
        """What the parsers call it."""
        return self.names[0].lstrip("-").replace("-", "_")
