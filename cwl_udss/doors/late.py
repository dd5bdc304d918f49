# SPDX-License-Identifier: Apache-2.0
"""What a command calls, imported when it is called: each module takes time."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module


def function_at(place: str) -> Callable[..., int]:
    """Return the function at a place, `module.function`."""
    module, _, name = place.rpartition(".")
    found: Callable[..., int] = getattr(import_module(module), name)
    return found
