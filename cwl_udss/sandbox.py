# SPDX-License-Identifier: Apache-2.0
"""What one step may see and write, and the choice of the runtime that makes it so."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from cwl_udss.records import record

TEMPORARY_DIRECTORY = "/tmp"  # noqa: S108 - the sandbox's own, a private directory of the step
# Where steps find their things; conversion makes mount points there. cwltool's traditional paths.
INPUT_DIRECTORY = "/var/lib/cwl"
OUTPUT_DIRECTORY = "/var/spool/cwl"
HOST_NAME = "cwl-udss"
SIGNAL_OFFSET = 128
"""Of the exit codes of processes that a signal has killed, as in sh(1)."""


@record(frozen=True, kw_only=True)
class Bind:
    """A file or directory of the host, shown in the sandbox at an absolute path."""

    source: str
    destination: str
    writable: bool = False


@record(frozen=True, kw_only=True)
class Memory:
    """An empty directory in memory, to be written to, at an absolute path of the sandbox."""

    path: str
    size_bytes: int | None = None
    """The most that it takes; None is the kernel's default, half of the memory."""


@record(frozen=True, kw_only=True)
class RootFilesystem:
    """A root filesystem: a directory, never written to."""

    path: Path
    mounted_by: int | None = None
    """A process in whose user and mount namespaces that path is, if not in the caller's."""

    @property
    def here(self) -> Path:
        """Where the caller sees it (proc_pid_root(5))."""
        if self.mounted_by is None:
            return self.path
        return Path(f"/proc/{self.mounted_by}/root{self.path}")


@record(frozen=True, kw_only=True)
class Sandbox:
    """One step's view of the machine.

    Besides the binds a step can write to `/tmp` (if bound, as steps have it) and to a `/dev/shm` of
    its own. The root filesystem, `/proc`, `/sys` and a minimal `/dev` are there to read; whatever
    else is on the host is out of sight.
    """

    root: RootFilesystem
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """The whole environment of the command; nothing of the caller's is added."""
    working_directory: str
    binds: tuple[Bind, ...] = ()
    directories: tuple[str, ...] = ()
    """Read-only directories to hold bind mounts, empty otherwise (where inputs are staged)."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Read-only files by path, with their contents (`/etc/passwd` and its like)."""
    network: bool = False
    shared_memory_bytes: int | None = None
    """Limit of `/dev/shm`; None is the kernel's default, half of the memory."""
    cores: int | None = None
    """How many were asked for. No limit, but where a runtime is faster on one, it takes one."""
    cpu_limit: float | None = None
    """How much processor time the command and all that it starts may have, in processors."""
    memory_limit: int | None = None
    """How much memory they may have together, in bytes; a step that has had more is killed, and has
    ended so even if it was quicker (Ending.MEMORY_LIMIT)."""
    only_in_job: str = ""
    """The batch job that runs this, if it runs nothing else meanwhile: what is counted of it is
    then this command's."""
    memory: tuple[Memory, ...] = ()
    devices: tuple[str, ...] = ()
    """Devices of the host, besides the usual ones, as `/dev/fuse`."""
    user: tuple[int, int] | None = None
    """The ids that the caller's own have inside; None is the same."""
    host_name: str = HOST_NAME
    writable_root: bool = False
    """Whether the command can write everywhere: into memory, over the root filesystem, and gone at
    its end. See runtimes/choosing/ for who can do that."""


@record(frozen=True, kw_only=True)
class Streams:
    """Where a command's standard streams come from and go to: descriptors of the caller.

    The command never has these themselves, but pipes (see runtimes/streams.py).
    """

    stdin: int | None = None
    """None is at its end."""
    stdout: int
    stderr: int
    remembered_bytes: int = 0
    """How much of the end of its standard error is to be in the Result; of both, if they go to one
    place."""
    hands_on_terminals: bool = False
    """A terminal is the command's own, for a person who types at it."""


class Ending(enum.Enum):
    """Why a command ended."""

    EXITED = "exited"
    TIME_LIMIT = "time limit"
    MEMORY_LIMIT = "memory limit"
    KILLED = "killed"
    NOT_STARTED = "not started"
    """The sandbox was made, but the program could not be executed in it."""


class MemorySource(enum.Enum):
    """Where the figure of all processes together is from."""

    CONTROL_GROUP = "control group"
    """What the kernel has counted of a group that has nothing else in it: cgroups(7)."""
    LOOKED_AT = "looked at"
    """The most that was seen, while they ran."""
    LARGEST = "largest process"
    """The kernel's own word for that one; no look has shown more for all."""


@record(frozen=True, kw_only=True)
class Usage:
    """What a command has used, with all that it has started (see runtimes/accounting/). None is
    what could not be found out."""

    user_seconds: float
    system_seconds: float
    memory_bytes: int | None
    """The most that all of its processes had resident at one time."""
    memory_source: MemorySource | None
    largest_bytes: int | None
    """The most that one of its processes had."""
    read_bytes: int | None
    """From storage, and so neither what was in memory already nor what pipes carry; so are
    `written_bytes`."""
    written_bytes: int | None
    major_faults: int | None
    processes: int | None
    """The most that were seen at one time."""

    @property
    def processor_seconds(self) -> float:
        """In the program and in the kernel."""
        return self.user_seconds + self.system_seconds


def read_usage(facts: Mapping[str, Any] | None) -> Usage | None:
    """Return what dataclasses.asdict() has made plain, with the source by its value. Raises
    TypeError, KeyError or ValueError for anything else."""
    if facts is None:
        return None
    source = facts["memory_source"]
    return Usage(**{**facts, "memory_source": None if source is None else MemorySource(source)})


@record(frozen=True, kw_only=True)
class Result:
    """How a command ended: its exit code (128 + n for signal n, as shells have it), and why."""

    exit_code: int
    ending: Ending
    usage: Usage | None = field(default=None, compare=False)
    """None if it could not be found out."""
    said: bytes = field(default=b"", compare=False)
    """See Streams.remembered_bytes."""


class SandboxProcess(Protocol):
    """A command running in its sandbox."""

    def wait(self, time_limit: float | None = None) -> Result:
        """Copy the streams until the command and all processes it left behind have ended.

        `time_limit` is in seconds; when it has passed all processes are killed.
        Must be called on the thread that started the process, and that thread must live until the
        command has ended: the kernel kills the sandbox with the *thread* that made it
        (PR_SET_PDEATHSIG in prctl(2)). Raises SandboxError if the sandbox could not be made, and
        StreamError if something could not be copied.
        """

    def kill(self) -> None:
        """Kill the command and all of its processes, from any thread, at any time."""


@record(frozen=True, kw_only=True)
class Limit:
    """Something that a runtime cannot enforce, or does not have."""

    name: str
    text: str
    is_weakness: bool = True
    """Whether a step can do more than it should, so that a person must accept it by name; else it
    can do less."""


class Runtime(Protocol):
    """Makes sandboxes: bubblewrap, say."""

    @property
    def description(self) -> str:
        """What runs, for the log and `cwl-udss doctor`: name, version, path."""

    @property
    def limits(self) -> tuple[Limit, ...]:
        """What it does not keep of what is promised of a sandbox, on this machine."""

    def start(self, sandbox: Sandbox, streams: Streams) -> SandboxProcess:
        """Start the sandbox's command. Raises SandboxError if the sandbox is impossible."""


@runtime_checkable
class MadeByUnshare(Protocol):
    """A runtime whose sandboxes are in namespaces that util-linux's unshare makes, within those of
    a mount too (see RootFilesystem)."""

    @property
    def unshare(self) -> str:
        """The program."""
