# SPDX-License-Identifier: Apache-2.0
"""What is the same of all runtimes when they start a command."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from typing import Protocol

from cwl_udss.errors import SandboxError
from cwl_udss.machine.deferral import Deferral
from cwl_udss.runtimes.accounting.memory import memory_of
from cwl_udss.runtimes.accounting.watch import adopt_orphans
from cwl_udss.runtimes.affinity import processors_for_children
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.streams import Pipes, with_relay
from cwl_udss.sandbox import Runtime, Sandbox, Streams


class PipedRuntime(Runtime, Protocol):
    """A runtime whose commands can also talk with who starts them; all of runtimes/ can."""

    def start(self, sandbox: Sandbox, streams: Streams) -> RuntimeProcess:
        """Start the sandbox's command (see sandbox.Runtime)."""
        with processors_for_children(sandbox.cpu_limit) as theirs:
            process = with_relay(streams, functools.partial(self.start_with, sandbox))
            process.memory = memory_of(sandbox)
            process.memory.take(process.process.pid)
            process.close_afterwards(theirs.pop_all())
        return process

    def start_with(self, sandbox: Sandbox, pipes: Pipes) -> RuntimeProcess:
        """Start the sandbox's command with these streams. Raises SandboxError if the sandbox is
        impossible."""
        raise NotImplementedError


@contextlib.contextmanager
def starting(program: str, kept: Sequence[int]) -> Iterator[Deferral]:
    """Start a process in this block, by this program. The signals at which it would be left to
    nobody are deferred from here on, until somebody waits for it; and its orphans become ours.

    If it fails, the descriptors that would be kept are closed. Raises SandboxError if the process
    cannot be started.
    """
    adopt_orphans()
    deferral = Deferral()
    try:
        yield deferral
    except BaseException as error:
        for descriptor in kept:
            os.close(descriptor)
        deferral.end()
        if isinstance(error, (OSError, ValueError)):  # ValueError: a NUL character in the command
            raise SandboxError(f"{program} cannot be started", str(error)) from error
        raise
