# SPDX-License-Identifier: Apache-2.0
"""Starts `unshare` with the program of a first process."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cwl_udss.runtimes.namespace import entering
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.starting import starting
from cwl_udss.runtimes.status import Made
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.runtimes.unshare.initial import Descriptors, Initial
from cwl_udss.runtimes.words import fill, program_file


@dataclass(frozen=True)
class Namespaces:
    """The namespaces that are made for a sandbox."""

    unshare: str
    """The program that makes them."""
    has_network: bool
    """Whether it has the host's."""
    inside: int | None
    """A process in whose user and mount namespaces they are made."""

    def command(self, program: str) -> list[str]:
        """Return the command line by which a program is their first process."""
        words = [] if self.inside is None else [*entering(self.inside)]
        # No cgroup namespace: programs (the JVM) find their limits by /proc/self/cgroup in /sys.
        words += [self.unshare, "-r", "-m", "-p", "-i", "-u", *([] if self.has_network else ["-n"])]
        # What the host mounts and unmounts later holds in the sandbox's binds, too.
        return [*words, "--propagation", "slave", "-f", program]


class MakeProgram(Protocol):
    """Returns the program of a first process."""

    def __call__(self, initial: Initial, *, dies_with_parent: bool) -> bytes:
        """Return it."""


def launch(
    namespaces: Namespaces,
    make_program: MakeProgram,
    pipes: Pipes,
    *,
    made: Made | None = None,
) -> RuntimeProcess:
    """Start a program as the first process of namespaces; `made` is for where that is not the last
    that is done. Raises SandboxError."""
    reading, writing = os.pipe()
    with starting(namespaces.unshare, [reading]) as deferral, contextlib.ExitStack() as stack:
        stack.callback(os.close, writing)
        # To be filled when its number is known, which is part of it.
        own = program_file()
        stack.callback(os.close, own)
        initial = Initial(Descriptors(status=writing, program=own))
        stack.callback(_close, initial.passed)
        # Ctrl-C at a command's terminal is the command's, and may end `unshare`, too.
        fill(own, make_program(initial, dies_with_parent=not pipes.is_typed_at))
        process = subprocess.Popen(
            namespaces.command(f"/proc/self/fd/{own}"),
            stdin=pipes.stdin,
            stdout=pipes.stdout,
            stderr=pipes.stderr,
            env={},
            pass_fds=(writing, own, *initial.passed),
            start_new_session=pipes.needs_own_session(),
        )
    return RuntimeProcess(
        process, pipes.relay, deferral, reading, explain=initial.explain, made=made or Made()
    )


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def library_path() -> dict[str, str]:
    """Return the variable by which a runtime finds libraries of its site; no command gets it."""
    path = os.environ.get("LD_LIBRARY_PATH")
    return {} if path is None else {"LD_LIBRARY_PATH": path}
