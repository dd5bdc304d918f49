# SPDX-License-Identifier: Apache-2.0
"""The control groups that a process is in: cgroups(7), version 1 and 2, and both beside each
other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def control_groups(system: Path = Path("/")) -> list[Path]:
    """Return the directories of this process's control groups and of all above them."""
    mounted, groups = system / "sys/fs/cgroup", []
    for controller, path in _own(system):
        if controller in ("", "memory", "cpu"):
            top = mounted / controller
            group = top / path
            groups += [group, *(p for p in group.parents if p == top or top in p.parents)]
    return groups


def own_memory_group(system: Path = Path("/")) -> Path | None:
    """Return the directory of the one that counts this process's memory; None if it cannot be
    seen."""
    for controller, path in _own(system):
        group = system / "sys/fs/cgroup" / controller / path
        counters = {"memory": "memory.usage_in_bytes", "": "memory.current"}
        if controller in counters and (group / counters[controller]).exists():
            return group
    return None


def memory_kills_in(group: Path) -> int | None:
    """Return how many of its processes the kernel has killed for its memory limit; None if it does
    not say: memory.events (version 2) or memory.oom_control (version 1)."""
    for name in ("memory.events", "memory.oom_control"):
        counts = pairs(content(group / name))
        if "oom_kill" in counts:
            return counts["oom_kill"]
    return None


def pairs(text: str) -> dict[str, int]:
    """Return what a file says with a name and a number on each line."""
    split = (line.partition(" ") for line in text.splitlines())
    return {name: int(value) for name, _, value in split if value.isdecimal()}


def content(path: Path) -> str:
    """Return what a file says; nothing if its controller is not there, or not ours to see."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _own(system: Path) -> Iterator[tuple[str, str]]:
    """Each controller, "" for all of version 2, with the relative path of this process's group."""
    for line in content(system / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path.lstrip("/")
