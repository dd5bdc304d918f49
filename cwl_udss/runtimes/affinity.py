# SPDX-License-Identifier: Apache-2.0
"""The processors on which a step runs that may not have all: sched_setaffinity(2).

What a thread has its children have, too, from their first instruction on, and nobody needs a right
for that. A part of a processor is a whole one here.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping


def fewest_users(allowed: Collection[int], users: Mapping[int, int], limit: float) -> set[int]:
    """Return as many processors as are needed, those that the fewest steps have. Of equal ones
    any: runs beside this one choose, too."""
    shuffled = random.sample(sorted(allowed), len(allowed))
    return set(sorted(shuffled, key=lambda number: users.get(number, 0))[: math.ceil(limit)])


class Processors:
    """Gives steps their processors, for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: Counter[int] = Counter()

    @contextlib.contextmanager
    def for_children(self, limit: float | None) -> Iterator[contextlib.ExitStack]:
        """Have the processes that this thread starts in the block on no more than so many. What it
        yields gives them back when it is closed: at the end of the block, unless the block takes
        that over (ExitStack.pop_all())."""
        allowed = os.sched_getaffinity(0)
        with contextlib.ExitStack() as stack:
            if limit is None or limit > len(allowed) - 1:
                yield stack
                return
            chosen = self._choose(allowed, limit)
            stack.callback(self._give_back, chosen)
            os.sched_setaffinity(0, chosen)  # glibc's is of the calling thread
            try:
                yield stack
            finally:
                os.sched_setaffinity(0, allowed)

    def _choose(self, allowed: Collection[int], limit: float) -> set[int]:
        with self._lock:
            chosen = fewest_users(allowed, self._users, limit)
            self._users.update(chosen)
        return chosen

    def _give_back(self, chosen: set[int]) -> None:
        with self._lock:
            self._users.subtract(chosen)
