# SPDX-License-Identifier: Apache-2.0
"""util-linux's unshare as the runtime: it makes the namespaces, and becomes the first process."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.seccomp import seccomp_program
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.runtimes.status import Made
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.runtimes.unshare.assembly import Assembly, enter_root
from cwl_udss.runtimes.unshare.initial import Initial, become_command, separate_host
from cwl_udss.runtimes.unshare.launching import Namespaces, launch
from cwl_udss.runtimes.unshare.privileges import give_up, take_identity
from cwl_udss.sandbox import Limit, Sandbox


@dataclass(frozen=True, kw_only=True)
class Unshare(PipedRuntime):
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

    def start_with(self, sandbox: Sandbox, pipes: Pipes) -> RuntimeProcess:
        """Start the sandbox's command (see PipedRuntime)."""
        assembly = Assembly.of(sandbox, pipes)
        calls = assembly.calls(sandbox)
        calls += [*enter_root(), *separate_host(network=sandbox.network)]
        calls += take_identity(os.geteuid(), os.getegid())

        def program(initial: Initial, *, dies_with_parent: bool) -> bytes:
            given_up = give_up(initial.program, seccomp_program())
            command = become_command(initial.program, sandbox, initial.status)
            return initial.content([*calls, *given_up], command, dies_with_parent=dies_with_parent)

        return launch(
            Namespaces(self.path, has_network=sandbox.network, inside=sandbox.root.mounted_by),
            program,
            pipes,
            # util-linux 2.38 ends with 1 if its child is killed by SIGKILL.
            made=Made(tells_all=True),
        )
