# SPDX-License-Identifier: Apache-2.0
"""A container engine that can be used, and how one is found on a machine."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from cwl_udss.runtimes.probing.attempts import Facts, Remember
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.sandbox import Limit


@dataclass(frozen=True, kw_only=True)
class Engine(PipedRuntime):
    """A container engine that can be used."""

    path: str
    version: str = ""
    place: Path
    """A directory of this node: each step has one there."""
    environment: Mapping[str, str]
    """The caller's."""
    limits: tuple[Limit, ...] = ()
    """What it cannot enforce, or does not have, on this machine."""

    @property
    def description(self) -> str:
        """For the log and `cwl-udss doctor`."""
        return f"{self.version} ({self.path})"


_Engine = TypeVar("_Engine", bound=Engine)


def find_engine(
    make: Callable[[Path], _Engine],
    attempt: Callable[[_Engine], Facts],
    limits: Sequence[Limit],
    temporary: Callable[[], AbstractContextManager[Path]],
    remember: Remember,
) -> _Engine:
    """Return an engine with the version, and those of its `limits`, that an attempt has found.

    `temporary` makes an empty directory of this node, which stays until this process ends. Raises
    SandboxError as the attempt does.
    """
    with contextlib.ExitStack() as stack:
        engine = make(stack.enter_context(temporary()))
        facts = remember(engine.path, lambda: attempt(engine))
        atexit.register(stack.pop_all().close)
    kept = tuple(limit for limit in limits if limit.name in facts["limits"])
    return replace(engine, version=facts["version"], limits=kept)
