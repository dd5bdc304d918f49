# SPDX-License-Identifier: Apache-2.0
"""Charliecloud's ch-run as the runtime.

It shows the host's /tmp, /dev, /proc, /sys and some files of /etc, binds nothing read-only, and has
no namespace of processes (ch-run(1)). So it runs in a place where all of these are the sandbox's
own already: put together as for `unshare`, in namespaces that this makes. ch-run then enters the
root filesystem; what it starts there gives up all privileges, and becomes the command.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.machine_code.command import execute
from cwl_udss.runtimes.machine_code.program import Call
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.seccomp import seccomp_program
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.runtimes.status import IS_MADE_FACT, Made
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.runtimes.unshare.assembly import PLACE, ROOT, Assembly, cover, leave_only
from cwl_udss.runtimes.unshare.initial import Initial, become_command, make_calls, separate_host
from cwl_udss.runtimes.unshare.launching import Namespaces, launch, library_path
from cwl_udss.runtimes.unshare.privileges import give_up, take_identity
from cwl_udss.runtimes.words import fill
from cwl_udss.sandbox import TEMPORARY_DIRECTORY, Limit, Sandbox

_IDENTITY = {"passwd": b"root:x:0:0::/:/bin/sh\n", "group": b"root:x:0:\n"}
_MADE = Made(fact=IS_MADE_FACT, tells_all=True)
# What it shows of the host, besides files of /etc.
_SHOWN = ("/dev", "/proc", "/sys", TEMPORARY_DIRECTORY)


@dataclass(frozen=True, kw_only=True)
class ChRun(PipedRuntime):
    """A `ch-run` that can be used."""

    path: str
    version: str
    unshare: str
    """The program that makes namespaces around it."""

    @property
    def description(self) -> str:
        """For the log and `cwl-udss doctor`."""
        return f"ch-run {self.version} ({self.path})"

    @property
    def limits(self) -> tuple[Limit, ...]:
        """None: all that is promised is kept."""
        return ()

    def start_with(self, sandbox: Sandbox, pipes: Pipes) -> RuntimeProcess:
        """Start the sandbox's command (see PipedRuntime)."""
        if PLACE.startswith(f"{TEMPORARY_DIRECTORY}/"):
            raise SandboxError(
                f"ch-run cannot be used by what is installed in {TEMPORARY_DIRECTORY}",
                "install cwl-udss elsewhere",
            )
        sandbox = _with_temporary_directory(sandbox)
        assembly = Assembly.of(sandbox, pipes)
        calls = [*assembly.calls(sandbox), *_cover(), *separate_host(network=sandbox.network)]

        def program(initial: Initial, *, dies_with_parent: bool) -> bytes:
            inner, descriptor = initial.inner_program()
            status = initial.status
            inner_calls = [*take_identity(os.geteuid(), os.getegid(), os.geteuid(), os.getegid())]
            inner_calls += give_up(inner, seccomp_program())
            code = make_calls(inner, inner_calls, status)
            code += inner.call("close", descriptor) + become_command(inner, sandbox, status)
            fill(descriptor, inner.elf(code))
            command = execute(initial.program, self._command(descriptor), own_environment())
            words = f"cwl-udss: {self.path} cannot be executed\n"
            command += initial.program.say(2, os.fsencode(words))
            command += initial.program.call("exit_group", 1)
            return initial.content(calls, command, dies_with_parent=dies_with_parent)

        return launch(
            Namespaces(self.unshare, has_network=sandbox.network, inside=sandbox.root.mounted_by),
            program,
            pipes,
            made=_MADE,
        )

    def _command(self, descriptor: int) -> tuple[str, ...]:
        identity = (f"--uid={os.geteuid()}", f"--gid={os.getegid()}")
        program = f"/proc/self/fd/{descriptor}"
        return (self.path, "--no-passwd", *identity, ROOT, "--", program)


def own_environment() -> dict[str, str]:
    """Return what ch-run needs itself."""
    return {"USER": "user", "HOME": "/", "PATH": os.defpath, **library_path()}


def _with_temporary_directory(sandbox: Sandbox) -> Sandbox:
    """It wants one in the image."""
    has_one = any(bind.destination == TEMPORARY_DIRECTORY for bind in sandbox.binds)
    if has_one or TEMPORARY_DIRECTORY in sandbox.directories:
        return sandbox
    return replace(sandbox, directories=(*sandbox.directories, TEMPORARY_DIRECTORY))


def _cover() -> Iterator[Call]:
    """Put the sandbox's own in the place of what it shows."""
    # Its files of /etc it would put over the image's, and ends where those are links that lead out
    # of it. Its own libraries are found by that one; without a name 0.45 ends by SIGSEGV.
    yield from leave_only("/etc", "ld.so.cache", _IDENTITY)
    for path in _SHOWN:
        yield cover(path)
