# SPDX-License-Identifier: Apache-2.0
"""A control group in which nothing runs but one step: it limits memory, and counts it.

Who may make one without being root: whose own group was delegated, as by `systemd-run --user
--scope -p Delegate=yes` (version 2, which wants a group with others below it to be empty itself),
or given away (version 1). cgroups(7), the kernel's admin-guide/cgroup-v2.rst and
cgroup-v1/memory.rst.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from cwl_udss.machine.control_groups import content, memory_kills_in, own_memory_group, pairs
from cwl_udss.records import record

_LEAF, _PREFIX = "cwl-udss", "cwl-udss-step-"
_numbers = itertools.count(1)
_LITTLE = 4 << 20
"""Bytes that a process may have had before it came into its group: what starts it has less."""


@record(frozen=True, kw_only=True)
class _Names:
    """How a version calls its files, and what it counts."""

    limit: str
    current: str
    peak: str
    with_swap: str
    cache: str
    shared: str
    kernel: str


_VERSION_2 = _Names(
    limit="memory.max",
    current="memory.current",
    peak="memory.peak",
    with_swap="memory.swap.max",
    cache="file",
    shared="shmem",
    kernel="slab_reclaimable",
)
_VERSION_1 = _Names(
    limit="memory.limit_in_bytes",
    current="memory.usage_in_bytes",
    peak="memory.max_usage_in_bytes",
    with_swap="memory.memsw.limit_in_bytes",
    cache="total_cache",
    shared="total_shmem",
    kernel="memory.kmem.usage_in_bytes",
)


class MemoryGroup:
    """One that is there."""

    def __init__(self, directory: Path, *, is_version_2: bool, is_own: bool = True) -> None:
        """`is_own` says whether it was made for the step; else it has others from before, who do
        nothing meanwhile."""
        self.directory = directory
        self._names = _VERSION_2 if is_version_2 else _VERSION_1
        self._is_own = is_own
        self._kills_before = memory_kills_in(directory) or 0
        self._peak_before = 0 if is_own else self._number(self._names.peak)
        self._cache_before = 0 if is_own else self._cached()
        self._others = 0 if is_own else self._number(self._names.current) - self._cache_before
        self._cache = 0

    def limit(self, size: int) -> None:
        """Let it have no more bytes, and no swap instead. Raises OSError."""
        (self.directory / self._names.limit).write_text(str(size))
        swap = 0 if self._names is _VERSION_2 else size
        # There is none where swap is not counted.
        with contextlib.suppress(OSError):
            (self.directory / self._names.with_swap).write_text(str(swap))

    def take(self, process: int) -> None:
        """Take in a process and all that come from it. Raises OSError."""
        taken: set[int] = set()
        # What those have started that are not in it yet may be missing from a list.
        while new := [number for number in _descendants(process) if number not in taken]:
            for number in new:
                with contextlib.suppress(ProcessLookupError):
                    (self.directory / "cgroup.procs").write_text(str(number))
            taken.update(new)

    def has_all_of(self, process: int) -> bool:
        """Whether it counts what a process and all that come from it have. What somebody had before
        stays with the group that they were in, and a command has some 50 MB in ten milliseconds."""
        theirs = sum(map(_anonymous_bytes, _descendants(process)))
        return theirs <= self._number(self._names.current) + _LITTLE

    def look(self) -> None:
        """Note what of it is the content of files and the like, which the kernel could do
        without."""
        self._cache = max(self._cache, self._cached() - self._cache_before)

    @property
    def kills(self) -> int:
        """How many processes the kernel has killed for the limit."""
        return (memory_kills_in(self.directory) or 0) - self._kills_before

    def peak(self) -> int | None:
        """Return the most that the step had in it; None if that is not known, or has to do with
        files more than with the step."""
        self.look()
        peak = self._number(self._names.peak)
        if peak <= self._peak_before:  # that was before the step
            return None
        return processes_peak(peak, self._others, self._cache)

    def close(self) -> None:
        """Remove it, if it was made for the step; all in it have ended."""
        if self._is_own:
            with contextlib.suppress(OSError):
                self.directory.rmdir()

    def _cached(self) -> int:
        counts, names = pairs(content(self.directory / "memory.stat")), self._names
        # Shared memory is among it, which nobody can do without.
        files = counts.get(names.cache, 0) - counts.get(names.shared, 0)
        return files + counts.get(names.kernel, self._number(names.kernel))

    def _number(self, name: str) -> int:
        text = content(self.directory / name)
        return int(text) if text.isdecimal() else 0


def processes_peak(peak: int, others: int, cache: int) -> int | None:
    """Return the most that processes had, given the most that their group had, of which `others`
    had so much already, and at most so much was the content of files; None if that leaves more open
    than a twentieth."""
    whole = peak - others
    return whole if cache <= whole // 20 else None


def group_with_limit(size: int, system: Path = Path("/")) -> MemoryGroup | None:
    """Return a new one that may have so many bytes; None if none can be had here."""
    own = own_memory_group(system)
    parent = None if own is None else _parent(own, system)
    if parent is None:
        return None
    _remove_abandoned(parent)
    directory = parent / f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
    try:
        directory.mkdir()
    except OSError:
        return None
    group = MemoryGroup(directory, is_version_2=_is_version_2(parent))
    try:
        group.limit(size)
    except OSError:
        group.close()
        return None
    return group


def group_of_job(job: str, system: Path = Path("/")) -> MemoryGroup | None:
    """Return the one of a batch job in which this process is; None if it is in another. The batch
    systems' names of them have the job's number: job_12 (Slurm), 12.server (PBS)."""
    own, number = own_memory_group(system), job.partition(".")[0]
    if own is None or not number:
        return None
    names = {f"job_{number}", job, number}
    if not any(part in names or part.startswith(f"{number}.") for part in own.parts):
        return None
    return MemoryGroup(own, is_version_2=_is_version_2(own), is_own=False)


def _is_version_2(directory: Path) -> bool:
    return (directory / "cgroup.controllers").exists()


def _parent(own: Path, system: Path) -> Path | None:
    """Where groups for steps can be made, made ready if need be; None if there is no such place."""
    if not _is_version_2(own):
        return own if os.access(own, os.W_OK) else None
    above = own.parent
    if own.name == _LEAF and _controls_memory(above):  # made ready before
        return above if os.access(above, os.W_OK) else None
    processes = [int(number) for number in content(own / "cgroup.procs").split()]
    ours = set(_descendants(os.getpid(), system))
    if not os.access(own / "cgroup.procs", os.W_OK) or not ours.issuperset(processes):
        return None
    try:
        (own / _LEAF).mkdir(exist_ok=True)
        for number in processes:
            (own / _LEAF / "cgroup.procs").write_text(str(number))
        (own / "cgroup.subtree_control").write_text("+memory")
    except OSError:
        return None
    return own


def _anonymous_bytes(process: int) -> int:
    """What a process has in memory that is no file: proc_pid_status(5), in kB."""
    lines = content(Path(f"/proc/{process}/status")).splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


def _remove_abandoned(parent: Path) -> None:
    """Remove groups of steps whose run was killed."""
    for group in parent.glob(f"{_PREFIX}*"):
        run = group.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", run).exists():
            with contextlib.suppress(OSError):  # it has processes, which are being killed
                group.rmdir()


def _controls_memory(group: Path) -> bool:
    return "memory" in content(group / "cgroup.subtree_control").split()


def _descendants(process: int, system: Path = Path("/")) -> Iterator[int]:
    """A process, and all that come from it."""
    pending = [process]
    while pending:
        number = pending.pop()
        yield number
        for thread in (system / f"proc/{number}/task").glob("*"):
            pending += map(int, content(thread / "children").split())
