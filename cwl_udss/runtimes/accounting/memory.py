# SPDX-License-Identifier: Apache-2.0
"""How much memory a step may have, and who sees to it: a control group of its own where it can
have one, else who looks at its processes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cwl_udss.sandbox import MemorySource, Sandbox, Usage

if TYPE_CHECKING:
    from cwl_udss.runtimes.accounting.memory_group import MemoryGroup


class Memory:
    """Of one step."""

    def __init__(self, limit: int | None = None, group: MemoryGroup | None = None) -> None:
        self._limit = limit
        self._group = group
        self._group_has_all = group is not None

    @property
    def watched_limit(self) -> int | None:
        """The limit, if looking at the processes is what keeps it."""
        return None if self._group_has_all else self._limit

    def take(self, process: int) -> None:
        """Take in a process of the step, and all that come from it."""
        if self._group is not None and self._limit is not None:
            try:
                self._group.take(process)
                self._group_has_all = self._group_has_all and self._group.has_all_of(process)
            except OSError:  # it was not ours after all: they are looked at
                self._close()
                self._group, self._group_has_all = None, False

    def is_over(self) -> bool:
        """Whether the kernel has ended one of its processes, for the limit; the others may not know
        what to do."""
        if self._group is None:
            return False
        self._group.look()
        return self._limit is not None and self._group.kills > 0

    def conclude(self, usage: Usage | None) -> tuple[Usage | None, bool]:
        """Return what was used by a step that has ended, with what a group has counted, and whether
        that was more than it might: also if it was quicker than any look. Leaves nothing."""
        try:
            was_over = self.is_over()
            if self._limit is not None and usage is not None:
                # A group has nothing of what was there before its first process was.
                was_over = was_over or (usage.memory_bytes or 0) > self._limit
            return self._counted(usage), was_over
        finally:
            self._close()

    def _counted(self, usage: Usage | None) -> Usage | None:
        """What a group counts is more exact than looking."""
        peak = None if self._group is None else self._group.peak()
        if usage is None or peak is None or peak < (usage.memory_bytes or 0):
            return usage
        return replace(usage, memory_bytes=peak, memory_source=MemorySource.CONTROL_GROUP)

    def _close(self) -> None:
        if self._group is not None:
            self._group.close()


def memory_of(sandbox: Sandbox) -> Memory:
    """Return what sees to the memory of a sandbox's command."""
    limit = sandbox.memory_limit
    if limit is None and not sandbox.only_in_job:
        return Memory()
    # Short commands have none, and need not wait for it.
    from cwl_udss.runtimes.accounting.memory_group import group_of_job, group_with_limit

    if limit is not None:
        return Memory(limit, group_with_limit(limit))
    return Memory(group=group_of_job(sandbox.only_in_job))
