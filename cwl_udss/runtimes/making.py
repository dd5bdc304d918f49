# SPDX-License-Identifier: Apache-2.0
"""In which way a runtime makes a sandbox, as far as who waits for that has to know."""

from __future__ import annotations

from dataclasses import dataclass

OWN_GENERATIONS = 1
"""The first process of a sandbox only waits."""


@dataclass
class Launched:
    """A child of this process that another has started in its place."""

    pid: int
    returncode: int | None = None


@dataclass(frozen=True, kw_only=True)
class Made:
    """How a sandbox is made where the first process that is told of does not do it all."""

    fact: str = "child-pid"
    """What is said when it is."""
    generations: int = OWN_GENERATIONS
    """How many processes, one started by the other, there are before the command."""
    tells_all: bool = False
    """Whether no end of the command, and no failure to execute it, is left for others to see."""
    has_session: bool = False
    """Whether the command has a session of its own, in which nobody types."""
    tidies_up: bool = False
    """Whether the runtime has something to do when all others have ended, and then ends itself: the
    others are to be killed, and not the runtime."""
