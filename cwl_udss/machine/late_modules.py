# SPDX-License-Identifier: Apache-2.0
"""Modules that are imported when something is used of them, and not before: each takes time.

Python's own way to do so, importlib.util.LazyLoader, has two threads that look into a module at
once execute it twice, or see half of it (before Python 3.12); here the import system's lock is
kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from types import ModuleType
from typing import Any


class LateModule(ModuleType):
    """Stands in for a module until it is used, and where it was imported meanwhile for ever."""

    def __getattr__(self, name: str) -> Any:
        return getattr(load(self.__name__), name)


def load(name: str) -> ModuleType:
    """Import a module itself, whatever stands in for it."""
    if isinstance(sys.modules.get(name), LateModule):
        sys.modules.pop(name, None)  # another thread may have
    return import_module(name)


def put_off(names: Iterable[str]) -> None:
    """Have modules of the standard library imported when they are used, if there are such."""
    for name in names:
        if name not in sys.modules and name in sys.stdlib_module_names:
            sys.modules[name] = LateModule(name)


def function_at(place: str) -> Callable[..., int]:
    """Return the function at a place, `module.function`, with its module imported."""
    module, _, name = place.rpartition(".")
    found: Callable[..., int] = getattr(import_module(module), name)
    return found
