# SPDX-License-Identifier: Apache-2.0
"""What a Dockerfile has made so far, as data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SHELL = ("/bin/sh", "-c")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What an instruction is going to change, and in what."""

    key: str
    line: int
    parent: Layer | Path
    """A Path is the root filesystem of an image that is there."""
    request: Mapping[str, Any]
    """For BuildRoots.run() or .change()."""
    origin: Layer | Path | None = None
    """What COPY --from reads."""


@dataclass(frozen=True, kw_only=True)
class State:
    """An image as far as it has got."""

    root: Layer | Path
    key: str
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    is_command_ours: bool = False
    """Not the base image's, which an ENTRYPOINT makes void."""
    shell: tuple[str, ...] = _SHELL
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """What stands for $name: ENV goes before ARG."""
        return {**self.arguments, **self.environment}


def hash_of(*parts: str) -> str:
    """Return the name of what these together make."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
