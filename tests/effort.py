# SPDX-License-Identifier: Apache-2.0
"""How much Python does, in lines: the same on each machine and each run, unlike seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

# Of the growth of lines when there is four times as much to do.
LINEAR = 5.0
QUADRATIC = 10.0


def lines(action: Callable[[], object]) -> int:
    """Count the lines that an action executes, of this thread's Python code."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def growth(prepare: Callable[[int], Callable[[], object]], size: int) -> float:
    """Return how many times the lines are that `prepare(size)` returns an action for, when the size
    is four times as large: 4 if each item costs the same, 16 if each costs as much as all."""
    return lines(prepare(4 * size)) / lines(prepare(size))
