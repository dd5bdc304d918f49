# SPDX-License-Identifier: Apache-2.0
"""Podman as the runtime: its command line.

It writes to a root what it thinks that a container needs (etc/hosts, etc/mtab, run/.containerenv),
so it is given one on top of which there is a layer in memory of its own (`:O`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from stat import S_IROTH, S_IXOTH

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.engines.engine import Engine
from cwl_udss.runtimes.engines.launching import FIRST_PROGRAM, HANDED_ON, launch
from cwl_udss.runtimes.engines.view import View, Way, is_plain, make_view
from cwl_udss.runtimes.limits import FEW_INPUTS
from cwl_udss.runtimes.operations import MountBind
from cwl_udss.runtimes.podman.conmon import wait_for_conmon
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.sandbox import HOST_NAME, Sandbox

_OPTIONS = (
    *("--rm", "--cap-drop=all", "--security-opt=no-new-privileges"),
    # Where SELinux is, it would keep the container from files that have no label of containers.
    "--security-opt=label=disable",
    *("--read-only", "--read-only-tmpfs=false", "--no-hosts", f"--hostname={HOST_NAME}"),
    # The step's streams are the container's, and nothing is copied or kept.
    *("--log-driver=passthrough", f"--preserve-fds={HANDED_ON}", "--sig-proxy=false"),
    *("--ulimit=host", "--http-proxy=false", "--workdir=/"),
)
_CONMON = "conmon.pid"
_MOST_BYTES_OF_SOURCES = 60_000  # of 65,535, as there are others
_ENTERED_BY_ALL = S_IROTH | S_IXOTH


def can_be_entered(root: Path) -> bool:
    """Say whether others than its owner may enter a root: the layer on top of it is not the step's,
    and has the same permissions (with podman 4.3 it is of the user before it). Raises SandboxError
    if there is none."""
    try:
        return root.stat().st_mode & _ENTERED_BY_ALL == _ENTERED_BY_ALL
    except OSError as error:
        raise SandboxError(
            f"the root filesystem {root} is not there", str(error.strerror)
        ) from error


_WAY = Way(
    can_be_told=is_plain,
    makes_mount_points=can_be_entered,
    own_files=("/etc/hostname", "/run/.containerenv"),
)


@dataclass(frozen=True, kw_only=True)
class Podman(Engine):
    """A `podman` that can be used."""

    keeps_identity: bool = True
    """Whether the step is who the caller is: for that it needs more user ids than that one."""

    def start_with(self, sandbox: Sandbox, pipes: Pipes) -> RuntimeProcess:
        """Start the sandbox's command (see PipedRuntime)."""
        if pipes.hands_on_a_terminal:  # `passthrough` takes none
            raise SandboxError(
                "podman gives a step no terminal of yours",
                "redirect its input and output, or choose another runtime",
            )
        root = sandbox.root.path
        if self.keeps_identity and not can_be_entered(root) and os.listdir(root):
            raise SandboxError(
                f"podman lets nobody but its owner enter {root}, and takes the step for another",
                f"type chmod go+rx {root}",
            )
        with contextlib.ExitStack() as stack:
            view = make_view(sandbox, self.place, stack, _WAY)
            stack.callback(wait_for_conmon, view.place / _CONMON)
            if FEW_INPUTS in self.limits:
                _check_binds(view)
            return launch(
                (self.path, *self.arguments(view, sandbox)),
                self.environment,
                sandbox,
                pipes,
                stack,
            )

    def arguments(self, view: View, sandbox: Sandbox) -> tuple[str, ...]:
        """Return podman's arguments for a view."""
        memory = sandbox.shared_memory_bytes or _half_of_memory()
        return (
            *("--log-level=error", "run", *_OPTIONS),
            f"--conmon-pidfile={view.place / _CONMON}",
            f"--name=cwl-udss-{secrets.token_hex(8)}",
            *(["--userns=keep-id"] if self.keeps_identity else []),
            f"--network={'host' if sandbox.network else 'none'}",
            f"--shm-size={memory}b",
            *(f"--volume={_volume(bind)}" for bind in view.binds),
            *("--rootfs", f"{view.named(view.root)}:O", FIRST_PROGRAM),
        )


def _check_binds(view: View) -> None:
    """Runc hands the sources of all binds on in one attribute of a netlink(7) message."""
    size = sum(len(bind.source) + 1 for bind in view.binds)
    if size > _MOST_BYTES_OF_SOURCES:
        raise SandboxError(
            f"the step has {len(view.binds)} inputs, and podman with runc takes fewer",
            "give it directories instead of single files, or choose another runtime",
        )


def _volume(bind: MountBind) -> str:
    return f"{bind.source}:{bind.path}:{'rw' if bind.writable else 'ro'}"


def _half_of_memory() -> int:
    """The limit that the kernel would give a /dev/shm: tmpfs(5)."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
