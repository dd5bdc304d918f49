# SPDX-License-Identifier: Apache-2.0
"""The processors on which a step runs that may not have all: sched_setaffinity(2).

What a thread has its children have, too, from their first instruction on, and nobody needs a right
for that. A part of a processor is a whole one here.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections.abc import Collection, Iterator


@contextlib.contextmanager
def processors_for_children(limit: float | None) -> Iterator[contextlib.ExitStack]:
    """Have the processes that this thread starts in the block on no more than so many. What it
    yields gives them back when it is closed: at the end of the block, unless the block takes that
    over (ExitStack.pop_all())."""
    allowed = os.sched_getaffinity(0)
    with contextlib.ExitStack() as stack:
        if limit is None or math.ceil(limit) >= len(allowed):
            yield stack
            return
        os.sched_setaffinity(0, _take(allowed, math.ceil(limit), stack))  # this thread's: glibc
        try:
            yield stack
        finally:
            os.sched_setaffinity(0, allowed)


def _take(allowed: Collection[int], number: int, stack: contextlib.ExitStack) -> list[int]:
    """Return so many processors, those first that no other step of this machine has; of equal ones
    any."""
    import random  # 5 ms, which a container without limits need not wait for

    shuffled = random.sample(sorted(allowed), len(allowed))
    free: list[int] = []
    for processor in shuffled:
        if len(free) < number and _is_free(processor, stack):
            free.append(processor)
    others = [processor for processor in shuffled if processor not in free]
    return [*free, *others][:number]


def _is_free(processor: int, stack: contextlib.ExitStack) -> bool:
    """Say whether nobody has taken a processor, and take it. All runs on a machine see such names,
    of which the kernel keeps none longer than who has it lives: unix(7), abstract sockets."""
    sign = socket.socket(socket.AF_UNIX)
    try:
        sign.bind(f"\0cwl-udss/processor/{processor}")
    except OSError:  # somebody has it, or this process may not do that
        sign.close()
        return False
    stack.enter_context(sign)
    return True
