# SPDX-License-Identifier: Apache-2.0
"""What the processes of a sandbox use: counted by the kernel, and looked at while they run.

bubblewrap mostly ends without having waited for the first process of its PID namespace, so that
what that one and all below it have used is in no getrusage(2) of bubblewrap's. Orphans become
children of the nearest *subreaper* (prctl(2)), which can wait for them in its stead: wait4(2) then
has the time of all that was waited for inside, and the size of the largest process. How much they
had together only looking tells.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import time
from collections.abc import Iterator

from cwl_udss.records import record
from cwl_udss.runtimes.accounting.counted import Counted
from cwl_udss.sandbox import MemorySource, Usage

_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = resource.getpagesize()
_MANY_BYTES = 1 << 16
_BLOCK = 512  # of ru_inblock and ru_oublock, whatever the filesystem's is

# A look takes some 0.05 ms for one process, and there may be thousands: the pause after it is at
# least so many times as long.
_FIRST_SECONDS, _LONGEST_SECONDS = 0.004, 0.2
_PAUSE_PER_LOOK = 150
_LONGEST_WITH_LIMIT_SECONDS = 0.05  # in which a process can fill some 100 MB
_PAUSE_PER_LOOK_WITH_LIMIT = 20
# Pages that processes share are counted once by the kernel only if it walks through all of them, in
# some 20 ms a GB: so much of the time may that take.
_SHARE, _CREDIT_SECONDS = 0.004, 0.05
_SECONDS_PER_BYTE = 2e-11
_MORE = 1.02


def adopt_orphans() -> None:
    """Have the orphans below this process become its children."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@record(frozen=True)
class _Seconds:
    """Processor time."""

    user: float
    system: float

    @property
    def both(self) -> float:
        return self.user + self.system

    def __add__(self, other: _Seconds) -> _Seconds:
        return _Seconds(self.user + other.user, self.system + other.system)


_NO_TIME = _Seconds(0.0, 0.0)


@record(frozen=True)
class _Process:
    """What is known of one."""

    number: str
    seconds: _Seconds
    """Of it, and of the children that it has waited for."""
    resident_bytes: int
    has_threads: bool


class Watch:
    """Looks at a tree of processes now and then, and says in the end what they have used."""

    def __init__(
        self,
        first: int,
        own_generations: int,
        tracer: int | None = None,
        memory_limit: int | None = None,
    ) -> None:
        """`first` is the first process of a PID namespace, or another to which orphans come; it and
        so many generations from it on are the runtime's own, and not the step's. So is a `tracer`,
        which is there if there are no namespaces; the step's /dev/shm is then no memory."""
        self._first = first
        self._own_generations = own_generations
        self._memory_limit = memory_limit
        self._tracer = None if tracer is None else str(tracer)
        self._began = time.monotonic()
        self._pause = _FIRST_SECONDS
        self.next = self._began + self._pause
        """When to look again, by time.monotonic()."""
        self._seconds = self._own = _NO_TIME
        self._processes = 0
        self._together = 0
        """The most that was seen, with what processes share counted once."""
        self._rough = 0
        """The same with that counted for each, where looking closer would have cost too much."""
        self._closely, self._shrinks_to = 0, 1.0
        """The largest rough figure that was looked at closely, and what part of it that left."""
        self._spent = 0.0

    def look(self) -> None:
        """Note what the processes have used, and what they have now."""
        began = time.thread_time()
        found = list(_tree(self._first))
        steps = [
            process
            for depth, process in found
            if depth >= self._own_generations and process.number != self._tracer
        ]
        # What a tracer does for the step, and there may be much of that, is none of the step's.
        counted = steps if self._tracer else [process for _, process in found]
        seconds = sum((process.seconds for process in counted), _NO_TIME)
        self._seconds = max(self._seconds, seconds, key=lambda seconds: seconds.both)
        # The first that is traced only starts the command.
        self._processes = max(self._processes, len(steps) - bool(self._tracer))
        in_files = _shared_memory_bytes(steps) if self._tracer is None else 0
        took = time.thread_time() - began
        rough = sum(process.resident_bytes for process in steps) + in_files
        if len(steps) == 1 and not in_files:
            self._together = max(self._together, rough)
        elif rough > self._together * _MORE:
            self._look_closer(steps, in_files, rough)
        longest, pause = _LONGEST_SECONDS, _PAUSE_PER_LOOK * took
        if self._memory_limit is not None:  # one that must be close has no share of the time
            longest = _LONGEST_WITH_LIMIT_SECONDS
            pause = _PAUSE_PER_LOOK_WITH_LIMIT * (time.thread_time() - began)
        self._pause = max(min(2 * self._pause, longest), pause)
        self.next = time.monotonic() + self._pause

    @property
    def has_seen_too_much(self) -> bool:
        """Whether the processes had more memory than they may."""
        return self._memory_limit is not None and self._together > self._memory_limit

    def leave_out(self, *used: tuple[float, float]) -> None:
        """Note what the runtime itself has used, in the program and in the kernel, of what is
        counted: it is none of the step's."""
        self._own = sum((_Seconds(*one) for one in used), self._own)

    def usage(self, counted: Counted, *, is_whole: bool) -> Usage:
        """Return what was used, given what the kernel has counted; of all, or only of some of the
        processes."""
        seconds = _Seconds(counted.user_seconds, counted.system_seconds)
        # What was left running at the end has been killed, and mostly nobody has waited for it.
        seconds = max(seconds, self._seconds, key=lambda seconds: seconds.both)
        largest = counted.largest_kibibytes << 10
        seen = max(self._together, int(self._rough * self._shrinks_to))
        source = MemorySource.LOOKED_AT if seen > largest else MemorySource.LARGEST
        return Usage(
            user_seconds=max(0.0, seconds.user - self._own.user),
            system_seconds=max(0.0, seconds.system - self._own.system),
            memory_bytes=max(seen, largest) or None,
            memory_source=source if seen or largest else None,
            largest_bytes=largest or None,
            read_bytes=counted.read_blocks * _BLOCK if is_whole else None,
            written_bytes=counted.written_blocks * _BLOCK if is_whole else None,
            major_faults=counted.major_faults if is_whole else None,
            processes=self._processes or None,
        )

    def _look_closer(self, processes: list[_Process], in_files: int, rough: int) -> None:
        began = time.thread_time()  # of a loaded machine others have the most
        allowed = _SHARE * (time.monotonic() - self._began)
        if rough > self._closely * _MORE:  # else they may only share less than they did
            allowed += _CREDIT_SECONDS
        # Nobody is killed for what only might be.
        must_be_known = self._memory_limit is not None and rough > self._memory_limit
        if not must_be_known and self._spent + rough * _SECONDS_PER_BYTE > allowed:
            self._rough = max(self._rough, rough)
            return
        own, shared = map(sum, zip(*map(_proportional_bytes, processes), strict=True))
        later = sum(process.resident_bytes for process in _again(processes))
        # Files there are mostly mapped by processes, too.
        counted = own + max(shared, in_files)
        # What came or went meanwhile may have been counted in one process, and then in another.
        moved = abs(later + in_files - rough)
        self._together = max(self._together, counted - moved)
        if rough > self._closely:  # the most like what is going to be the largest
            self._closely = rough
            self._shrinks_to = min(1.0, counted / rough)
        self._spent += time.thread_time() - began


def _tree(first: int) -> Iterator[tuple[int, _Process]]:
    """A process and all that come from it, each with its generation; in a PID namespace that is
    all of them, as orphans come to its first process."""
    pending = [(0, str(first))]
    while pending:
        generation, number = pending.pop()
        process = _process(number)
        if process is not None:
            yield generation, process
            pending += ((generation + 1, child) for child in _children(process))


def own_seconds(process: int) -> tuple[float, float]:
    """Return what a process has used itself, in the program and in the kernel, as long as nobody
    has waited for it. The first of a namespace of bwrap's has made the sandbox, and then waits."""
    user, system = _fields(str(process))[11:13] or (0, 0)
    return int(user) / _TICKS, int(system) / _TICKS


def _process(number: str) -> _Process | None:
    """Return None if there is no such process any more."""
    fields = _fields(number)
    if not fields:
        return None
    return _Process(
        number=number,
        seconds=_Seconds(
            (int(fields[11]) + int(fields[13])) / _TICKS,
            (int(fields[12]) + int(fields[14])) / _TICKS,
        ),
        resident_bytes=int(fields[21]) * _PAGE,
        has_threads=fields[17] != b"1",
    )


def _fields(number: str) -> list[bytes]:
    """What proc_pid_stat(5) has from its third field on: the second may have blanks."""
    return _read(f"/proc/{number}/stat").rpartition(b")")[2].split()


def _again(processes: list[_Process]) -> Iterator[_Process]:
    """As they are now, those that still are."""
    return filter(None, (_process(process.number) for process in processes))


def _children(process: _Process) -> list[str]:
    number, threads = process.number, [process.number]
    if process.has_threads:
        with contextlib.suppress(OSError):
            threads = os.listdir(f"/proc/{number}/task")
    lists = (_read(f"/proc/{number}/task/{thread}/children") for thread in threads)
    return [child.decode() for children in lists for child in children.split()]


def _proportional_bytes(process: _Process) -> tuple[int, int]:
    """What a process has resident, each page divided by the number of processes that have it, and
    apart from the rest what of it is shared memory (proc_pid_smaps(5), in kB)."""
    lines = _read(f"/proc/{process.number}/smaps_rollup").splitlines()
    sizes = {line.split()[0]: int(line.split()[1]) << 10 for line in lines if line[:3] == b"Pss"}
    # There is none of a program that nobody may read, and none before Linux 4.14.
    whole, shared = sizes.get(b"Pss:", process.resident_bytes), sizes.get(b"Pss_Shmem:", 0)
    return whole - shared, shared


def _shared_memory_bytes(steps: list[_Process]) -> int:
    """What is in the files of the step's /dev/shm, which is memory, but no process's."""
    for process in steps:
        with contextlib.suppress(OSError):  # it has ended
            found = os.statvfs(f"/proc/{process.number}/root/dev/shm")
            return (found.f_blocks - found.f_bfree) * found.f_frsize
    return 0


def _read(path: str) -> bytes:
    """A file of /proc; nothing if its process has ended. This takes half as long as open()."""
    content = b""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    with contextlib.suppress(OSError):
        while part := os.read(descriptor, _MANY_BYTES):
            content += part
    os.close(descriptor)
    return content
