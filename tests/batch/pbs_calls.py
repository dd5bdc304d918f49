# SPDX-License-Identifier: Apache-2.0
"""What a command is given and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Call(Protocol):
    """One run of a command, and how to speak with it."""

    name: str
    arguments: list[str]
    directory: str
    environment: dict[str, str]

    async def write(self, stream: int, text: str) -> None:
        """Print something at once."""

    async def read(self, path: str) -> str:
        """A file's content or, for "", what the standard input has. Raises OSError."""


class Access(Protocol):
    """How a command reaches the server, which takes its time."""

    async def connect(self, call: Call) -> None:
        """Open an authenticated connection."""


@dataclass
class Output:
    """What a command prints in the end."""

    out: str = ""
    error: str = ""
    code: int = 0
    stay: bool = False
    """Whether qsub leaves a process behind."""

    def fail(self, text: str, number: int) -> None:
        """Complain; of several, the last number counts."""
        self.error += f"{text}\n"
        self.code = number & 255
