# SPDX-License-Identifier: Apache-2.0
"""util-linux's unshare as the runtime: it makes the namespaces, and becomes the first process."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.mounts import plan_mounts
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.seccomp import seccomp_program
from cwl_udss.runtimes.status import Made
from cwl_udss.runtimes.streams import Relay, with_relay
from cwl_udss.runtimes.unshare.assembly import Assembly, enter_root
from cwl_udss.runtimes.unshare.initial import Initial, become_command, separate_host
from cwl_udss.runtimes.unshare.launching import Namespaces, launch
from cwl_udss.runtimes.unshare.privileges import give_up, take_identity
from cwl_udss.runtimes.words import check_words
from cwl_udss.sandbox import Limit, Sandbox, Streams


@dataclass(frozen=True, kw_only=True)
class Unshare:
    """An `unshare` that can be used."""

    path: str
    version: str

    @property
    def description(self) -> str:
        """For the log and `cwl-udss doctor`."""
        return f"{self.version} ({self.path})"

    @property
    def limits(self) -> tuple[Limit, ...]:
        """None: all that is promised is kept."""
        return ()

    @property
    def unshare(self) -> str:
        """The program itself (see MadeByUnshare)."""
        return self.path

    def start(self, sandbox: Sandbox, streams: Streams) -> RuntimeProcess:
        """Start the sandbox's command (see sandbox.Runtime)."""
        return with_relay(streams, functools.partial(self.start_with, sandbox))

    def start_with(
        self,
        sandbox: Sandbox,
        *,
        stdin: int,
        stdout: int,
        stderr: int,
        relay: Relay | None = None,
    ) -> RuntimeProcess:
        """Start it with streams that are no files of the host's (see Bubblewrap)."""
        check_words(sandbox.command, sandbox.environment)
        assembly = Assembly.of(sandbox, relay, stdout)
        try:
            calls = list(assembly.calls(plan_mounts(sandbox)))
        except OSError as error:
            raise SandboxError("the sandbox cannot be prepared", str(error)) from error
        calls += [*enter_root(), *separate_host(network=sandbox.network)]
        calls += take_identity(os.geteuid(), os.getegid())

        def program(initial: Initial, *, dies_with_parent: bool) -> bytes:
            given_up = give_up(initial.program, seccomp_program())
            command = become_command(initial.program, sandbox, initial.status)
            return initial.content([*calls, *given_up], command, dies_with_parent=dies_with_parent)

        return launch(
            Namespaces(self.path, has_network=sandbox.network, inside=sandbox.root.mounted_by),
            program,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            relay=relay,
            # util-linux 2.38 ends with 1 if its child is killed by SIGKILL.
            made=Made(tells_all=True),
        )
