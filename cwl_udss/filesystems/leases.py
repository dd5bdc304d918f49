# SPDX-License-Identifier: Apache-2.0
"""Who is at work on a shared filesystem: taking turns, and being seen, without any lock.

Lustre's `localflock` grants one lock to two nodes, `noflock` grants none, and NFS tells late. So
nothing here is needed for correctness: a turn that two processes have costs work done twice.
Whether another machine's process lives is told by its file being refreshed, watched with the clock
of whoever watches; clocks are never compared.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from cwl_udss.machine.quantities import counted
from cwl_udss.machine.waiting import told
from cwl_udss.records import record

if TYPE_CHECKING:
    from filelock import SoftFileLease

LEASE_SECONDS = 60.0
"""Without a refresh for so long, the other is taken for dead."""
REFRESH_SECONDS = 10.0
"""Caches of NFS and sshfs hide news for some 20 to 60 s; several refreshes must fit in."""
POLL_SECONDS = 0.5


@contextlib.contextmanager
def turn(path: Path, is_needless: Callable[[], bool], what: str) -> Iterator[bool]:
    """Wait until nobody else does what `path` stands for; give False if it has become needless.
    `what` says for people what is done.

    Where there can be no lease (a full disk, say) nobody waits.
    """
    from filelock import SoftFileLease, Timeout

    lease = SoftFileLease(path, lease_duration=LEASE_SECONDS, heartbeat_interval=REFRESH_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stillborn = _Stillborn(path)
        with told(lambda: f"for {_holder(lease)}, to {what} ({path})"):
            lease.acquire(
                poll_interval=POLL_SECONDS, cancel_check=lambda: stillborn.look() or is_needless()
            )
    except Timeout:
        yield False
        return
    except OSError:
        yield True
        return
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):
            lease.release()


def _holder(lease: SoftFileLease) -> str:
    """Who has a lease, for people."""
    owner = lease.owner
    return f"process {owner.pid} of {owner.hostname}" if owner is not None else "another process"


class _Stillborn:
    """A lease whose owner has died between making its file and writing it.

    filelock waits for such an empty file for ever: older versions of it never wrote any.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._since = 0.0

    def look(self) -> bool:
        """Remove the file when it has been empty for long. Says that there is no reason to give
        up waiting."""
        with contextlib.suppress(FileNotFoundError):
            status = self._path.stat()
            seen = (status.st_ino, status.st_ctime_ns)
            if status.st_size or seen != self._seen:
                self._seen, self._since = seen, time.monotonic()
            elif time.monotonic() - self._since > REFRESH_SECONDS:
                self._path.unlink()
        return False


@record(frozen=True, kw_only=True)
class Owner:
    """A process, such that others can tell whether it lives."""

    host: str
    """For people: several machines may have one name."""
    boot: str
    """The kernel's random name of this boot."""
    processes: str
    """The PID namespace: process ids mean nothing outside."""
    process: int
    started: str
    """Ticks since the boot; a later process of the same id has others."""

    def is_gone(self) -> bool | None:
        """Say whether the process has ended; None if that cannot be told from here."""
        here = this_owner()
        if (self.boot, self.processes) != (here.boot, here.processes):
            return None
        return _start_time(self.process) != self.started


@functools.lru_cache(maxsize=1)
def _owner(process: int) -> Owner:
    return Owner(
        host=os.uname().nodename,
        boot=Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
        processes=os.readlink("/proc/self/ns/pid"),
        process=process,
        started=_start_time(process),
    )


def this_owner() -> Owner:
    """Return this process."""
    return _owner(os.getpid())  # another one after a fork


@contextlib.contextmanager
def presence(path: Path, work: Path | None = None) -> Iterator[None]:
    """Show to all machines, by a file, that this process is at work; gone at the end, unless that
    has left `work`: it tells whose it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _publish(path, json.dumps(asdict(this_owner())).encode())
    try:
        with _refreshed(descriptor):
            try:
                yield
            finally:
                if work is None or not work.exists():
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _publish(path: Path, content: bytes) -> int:
    """Make a file that is whole when it appears; return it, open. Where there are no files without
    a name (O_TMPFILE of open(2)), one whose process dies in between is half-written."""
    try:
        descriptor = os.open(path.parent, os.O_TMPFILE | os.O_RDWR)
    except OSError:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    try:
        os.fchmod(descriptor, 0o644)  # for colleagues, whatever the umask
        os.write(descriptor, content)
        if not path.exists():
            # Given a directory Python calls linkat(2), which follows the link that /proc has.
            os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def presence_name() -> str:
    """Return a name for a presence that no other has."""
    return f"{os.uname().nodename}.{os.getpid()}.{os.urandom(8).hex()}"


def list_presences(directory: Path) -> list[Path]:
    """Return the presences in a directory, none if it does not exist."""
    with contextlib.suppress(FileNotFoundError):
        return list(directory.iterdir())
    return []


def remove_dead(directory: Path) -> None:
    """Remove the presences in a directory that processes of this machine have left by dying."""
    own = f"{os.uname().nodename}."
    for path in list_presences(directory):
        # A thousand nodes need not all read what the others have written.
        if path.name.startswith(own) and _is_gone(path):
            path.unlink(missing_ok=True)


def living(paths: Collection[Path], patience: float = LEASE_SECONDS) -> set[Path]:
    """Return the presences whose processes live. Watches those of other machines for up to
    `patience` seconds; with none it believes them to live."""
    found: set[Path] = set()
    watched: dict[Path, int] = {}
    for path in paths:
        is_gone = _is_gone(path)
        if is_gone is False:
            found.add(path)
        elif is_gone is None and (stamp := _stamp(path)) is not None:
            watched[path] = stamp
    give_up = time.monotonic() + patience

    def what() -> str:
        number = counted(len(watched), "process", "processes")
        return f"for signs of life of {number} of other machines"

    with told(what):
        while patience and watched and time.monotonic() < give_up:
            time.sleep(min(REFRESH_SECONDS / 4, patience))
            for path, stamp in list(watched.items()):
                now = _stamp(path)
                if now != stamp:
                    del watched[path]
                if now not in (stamp, None):
                    found.add(path)
    return found if patience else found | set(watched)


def _is_gone(path: Path) -> bool | None:
    try:
        return Owner(**json.loads(path.read_bytes())).is_gone()
    except FileNotFoundError:
        return True
    except (ValueError, TypeError, OSError):  # half-written, or of another version
        return None


def _stamp(path: Path) -> int | None:
    """What every refresh changes; by opening, as an NFS client asks the server then (nfs(5))."""
    try:
        with open(path, "rb") as stream:
            return os.fstat(stream.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None
    except PermissionError:
        return path.stat().st_mtime_ns


@contextlib.contextmanager
def _refreshed(descriptor: int) -> Iterator[None]:
    stop = threading.Event()

    def refresh() -> None:
        while not stop.wait(REFRESH_SECONDS):
            with contextlib.suppress(OSError):  # a server that is away comes back, or not
                os.utime(descriptor)

    thread = threading.Thread(target=refresh, name="presence", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _start_time(process: int) -> str:
    """Field 22 of proc(5)'s /proc/PID/stat; "" if there is no such process, or it is dead."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
