# SPDX-License-Identifier: Apache-2.0
"""What a caller asks of one container, and the sandbox that it gets.

A door makes a Container of its options and of what the image says; all doors run it in the same
way: as a step, with the mounts that were asked for.
"""

from __future__ import annotations

import contextlib
import gc
import os
import posixpath
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from types import FrameType

from cwl_udss.doors.mounts import along_links, is_within, last_of_each
from cwl_udss.doors.runtime import OVER_MOUNTS, OVER_STORE
from cwl_udss.machine.deferral import deferred
from cwl_udss.records import record
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.namespace import command_process
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.sandbox import (
    HOST_NAME,
    Bind,
    Memory,
    Result,
    RootFilesystem,
    Sandbox,
    Streams,
)
from cwl_udss.surroundings.identity import identity_files

PRIVATE_DIRECTORIES = ("/tmp", "/var/tmp")  # noqa: S108 - the container's own
# Those that a program is sent to do something, or to end, and that nobody else is meant by. The
# others are the kernel's word to a process of its own faults, or of its terminal's.
FORWARDED = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1),
    *(signal.SIGUSR2, signal.SIGALRM, signal.SIGCONT),
)


@record(frozen=True, kw_only=True)
class Container:
    """One container, as its caller wants it."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    """The whole of it."""
    working_directory: str
    """Made if the image has none of that name."""
    home: str
    """For `/etc/passwd`."""
    binds: tuple[Bind, ...] = ()
    """Of several at one place the last counts."""
    memory: tuple[Memory, ...] = ()
    private_directories: tuple[str, ...] = PRIVATE_DIRECTORIES
    """Directories of its own on this node, empty, where nothing else is mounted."""
    user: tuple[int, int] | None = None
    """The ids that the caller's own have inside, as far as the runtime can; None is the same."""
    network: bool = True
    host_name: str = HOST_NAME
    hosts: tuple[str, ...] = ()
    """More lines for `/etc/hosts`."""
    resolver: bytes | None = None
    """What is in `/etc/resolv.conf`; None is the same as here."""
    shared_memory_bytes: int | None = None
    memory_limit: int | None = None
    """See sandbox.Sandbox; so is `cpu_limit`."""
    cpu_limit: float | None = None
    writable_root: bool = True
    """As far as the runtime can (see Sandbox)."""
    devices: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Read-only files by path."""


def sandbox_of(
    container: Container, root: RootFilesystem, temporary: Path, runtime: PipedRuntime
) -> Sandbox:
    """Return the sandbox of a container. `temporary` is an empty directory of this node."""
    binds = last_of_each(along_links(container.binds))
    taken = [*(bind.destination for bind in binds), *(one.path for one in container.memory)]
    private = [
        path
        for path in container.private_directories
        if path not in taken and not _has_entries(f"{root.here}{path}")
    ]
    writable = container.writable_root and can_write_root(runtime, root)
    made = [_private_bind(path, temporary) for path in private]
    memory = list(container.memory)
    if not writable and not _is_there(container.working_directory, root, [*taken, *private]):
        memory.append(Memory(path=container.working_directory))
    return Sandbox(
        root=root,
        command=container.command,
        environment=container.environment,
        working_directory=container.working_directory,
        binds=(*made, *binds),
        files={
            path: content
            for path, content in {**_identity(container, root), **container.files}.items()
            if path not in taken
        },
        network=container.network,
        shared_memory_bytes=container.shared_memory_bytes,
        memory_limit=container.memory_limit,
        cpu_limit=container.cpu_limit,
        memory=tuple(memory),
        devices=container.devices,
        user=container.user if isinstance(runtime, Bubblewrap) else None,
        host_name=container.host_name,
        writable_root=writable,
    )


def can_write_root(runtime: PipedRuntime, root: RootFilesystem) -> bool:
    """Say whether a runtime can have a container write over its image (see find_runtime()). In one
    that is mounted nothing can be made if it belongs to nobody whom the container knows."""
    if not isinstance(runtime, Bubblewrap):
        return False
    if root.mounted_by is None:
        return OVER_STORE in runtime.options
    return OVER_MOUNTS in runtime.options and os.stat(root.here).st_uid == os.geteuid()


@record(frozen=True)
class Running:
    """A container's processes, for as long as they run."""

    process: RuntimeProcess

    def first(self) -> tuple[int, int] | None:
        """Return what namespace.command_process() finds the container's own process by."""
        return self.process.first()

    def wait(self) -> Result:
        """Wait for the end; signals that this process gets meanwhile are the container's."""
        first = self.first()
        gc.freeze()  # what is there by now is no garbage, and need not be looked at for it
        gc.enable()  # which the doors' scripts have not, for what is short
        with _forwarded(lambda number: first is not None and send_signal(*first, number)):
            return self.process.wait()


def start(sandbox: Sandbox, runtime: PipedRuntime, streams: Streams) -> Running:
    """Start a container. Raises SandboxError."""
    return Running(runtime.start(sandbox, streams))


def send_signal(first: int, own_generations: int, number: int) -> bool:
    """Send a signal to a container's own process; say whether there is one."""
    process = command_process(first, own_generations)
    if process is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)
        return True
    return False


@contextlib.contextmanager
def _forwarded(send: Callable[[int], object]) -> Iterator[None]:
    def handle(number: int, _frame: FrameType | None) -> None:
        send(number)

    with deferred():
        before = {
            number: signal.signal(number, handle)
            for number in FORWARDED
            if signal.getsignal(number) is not signal.SIG_IGN
        }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _identity(container: Container, root: RootFilesystem) -> dict[str, bytes]:
    files = identity_files(
        root.here, home=container.home, network=container.network, user=container.user
    )
    hosts = [f"127.0.1.1 {container.host_name}"] if container.host_name != HOST_NAME else []
    files["/etc/hosts"] += "".join(f"{line}\n" for line in [*hosts, *container.hosts]).encode()
    if container.resolver is not None:
        files["/etc/resolv.conf"] = container.resolver
    return files


def _private_bind(path: str, temporary: Path) -> Bind:
    made = temporary / path.strip("/").replace("/", "-")
    made.mkdir()
    made.chmod(0o1777)
    return Bind(source=str(made), destination=path, writable=True)


def _is_there(path: str, root: RootFilesystem, mounted: list[str]) -> bool:
    """Whether a container has something at a path, as far as can be seen without links."""
    return is_within(path, mounted) or os.path.lexists(f"{root.here}{posixpath.normpath(path)}")


def _has_entries(path: str) -> bool:
    """Whether the image has something there; a link could lead anywhere, and is not looked at."""
    try:
        return not os.path.islink(path) and bool(os.listdir(path))
    except OSError:
        return False
