# SPDX-License-Identifier: Apache-2.0
"""crun and runc as runtimes."""

from __future__ import annotations

from dataclasses import dataclass

from cwl_udss.runtimes.limits import OCI_LIMITS
from cwl_udss.runtimes.oci.bundle import configuration
from cwl_udss.runtimes.oci.container import BUNDLE, STATE, Own, become_runtime, prepare
from cwl_udss.runtimes.oci.first import PROGRAM, first_program
from cwl_udss.runtimes.operations import KERNEL_SETTINGS
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.runtimes.status import IS_MADE_FACT, Made
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.runtimes.unshare.assembly import ROOT, Assembly
from cwl_udss.runtimes.unshare.initial import Initial
from cwl_udss.runtimes.unshare.launching import Namespaces, launch, library_path
from cwl_udss.runtimes.words import fill
from cwl_udss.sandbox import Limit, Sandbox

_NAME = "step"  # in a state directory of its own
# That makes the namespaces around, and the one in the container: before the command.
_MADE = Made(fact=IS_MADE_FACT, generations=2, tells_all=True, has_session=True)


@dataclass(frozen=True, kw_only=True)
class Program:
    """What differs between the programs that the specification is for."""

    name: str
    """Of distributions' packages, too."""
    options: tuple[str, ...] = ()
    """Before its subcommand."""


CRUN = Program(name="crun", options=("--cgroup-manager=disabled",))
RUNC = Program(name="runc")


@dataclass(frozen=True, kw_only=True)
class OciRuntime(PipedRuntime):
    """A crun or runc that can be used."""

    program: Program
    path: str
    version: str
    unshare: str
    """util-linux's, which makes the namespaces around it."""

    @property
    def description(self) -> str:
        """For the log and `cwl-udss doctor`."""
        return f"{self.program.name} {self.version} ({self.path})"

    @property
    def limits(self) -> tuple[Limit, ...]:
        """What it does not have."""
        return OCI_LIMITS

    @property
    def command(self) -> tuple[str, ...]:
        """What makes the container and ends. It makes no keyring: a user may have some 200, and the
        filter refuses all that can be done with them."""
        return (
            *(self.path, *self.program.options, "--root", STATE, "run", "--detach"),
            *("--no-new-keyring", "--preserve-fds", "2", "--bundle", BUNDLE, _NAME),
        )

    def start_with(self, sandbox: Sandbox, pipes: Pipes) -> RuntimeProcess:
        """Start the sandbox's command (see PipedRuntime)."""
        assembly = Assembly.of(sandbox, pipes)
        config = configuration(
            root=ROOT,
            program=f"/proc/self/fd/{PROGRAM}",
            network=sandbox.network,
            read_only=KERNEL_SETTINGS if assembly.is_root else (),
        )
        calls = assembly.calls(sandbox)
        calls += prepare(config)

        def program(initial: Initial, *, dies_with_parent: bool) -> bytes:
            first, descriptor = initial.inner_program()
            fill(descriptor, first_program(first, sandbox))
            own = Own(status=initial.status, first=descriptor)
            runtime = become_runtime(initial.program, self.command, library_path(), own)
            return initial.content(
                calls, runtime, dies_with_parent=dies_with_parent, says_end=False
            )

        return launch(
            # Its own are the container's.
            Namespaces(self.unshare, has_network=True, inside=sandbox.root.mounted_by),
            program,
            pipes,
            made=_MADE,
        )
