# SPDX-License-Identifier: Apache-2.0
"""Doors as callers have them: by name, from a directory."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any


class Door:
    """A door of one name, with an environment."""

    def __init__(self, program: Path, environment: dict[str, str]) -> None:
        self.program = program
        self.environment = environment

    def __call__(
        self, *arguments: str, input: str | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Call it to its end."""
        variables = options.pop("variables", {})
        return subprocess.run(
            [self.program, *arguments],
            env={**self.environment, **variables},
            input=input,
            **({} if input is not None else {"stdin": subprocess.DEVNULL}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **options,
        )

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start it."""
        return subprocess.Popen(
            [self.program, *arguments],
            env=self.environment,
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            text=True,
            **options,
        )
