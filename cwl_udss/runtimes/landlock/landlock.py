# SPDX-License-Identifier: Apache-2.0
"""Landlock alone as the runtime: it shows no image, and keeps a tool of this machine from what it
was not given.

Nothing is put in another place: what a step is given it has at the paths of this machine.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.limits import LANDLOCK_LIMITS
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.proot.filter import proot_filter
from cwl_udss.runtimes.proot.first import write_first_program
from cwl_udss.runtimes.proot.landlock import CAN_FORBID_TRUNCATING, Rule, limits_of
from cwl_udss.runtimes.proot.launching import Launchers
from cwl_udss.runtimes.proot.metadata import Metadata
from cwl_udss.runtimes.proot.request import Request, cpus_for
from cwl_udss.runtimes.proot.view import check_rules, machine_rules
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.runtimes.words import check_words
from cwl_udss.sandbox import Limit, Sandbox
from cwl_udss.staging import remove_tree

_ADVICE = "another runtime can: `cwl-udss doctor` tries each"


@dataclass(frozen=True, kw_only=True)
class Landlock(PipedRuntime):
    """The kernel's, as far as it knows of it."""

    abi: int
    place: Path
    """A directory of this node, in which programs can be executed: each step has one there."""
    launchers: Launchers = field(default_factory=Launchers)

    @property
    def description(self) -> str:
        """For the log and `cwl-udss doctor`."""
        return f"Landlock {self.abi} and seccomp, around tools of this machine"

    @property
    def limits(self) -> tuple[Limit, ...]:
        """What this runtime cannot enforce, or does not have."""
        return limits_of(LANDLOCK_LIMITS, self.abi)

    def start_with(self, sandbox: Sandbox, pipes: Pipes) -> RuntimeProcess:
        """Start the sandbox's command (see PipedRuntime)."""
        check_words(sandbox.command, sandbox.environment)
        _check_places(sandbox)
        with contextlib.ExitStack() as stack:
            try:
                place = Path(tempfile.mkdtemp(dir=self.place))
                stack.callback(remove_tree, place)
                first = place / "first"
                write_first_program(first, sandbox)
            except OSError as error:
                raise SandboxError("the sandbox cannot be prepared", str(error)) from error
            stack.callback(Metadata(b for b in sandbox.binds if not _is_system(b.source)).compare)
            return self.launchers.process(self._request(first, sandbox), pipes, stack)

    def _request(self, first: Path, sandbox: Sandbox) -> Request:
        binds = tuple(Rule(os.path.realpath(b.source), b.writable) for b in sandbox.binds)
        check_rules(binds)
        return Request(
            arguments=(str(first),),
            environment={},
            rules=(Rule(str(first)), *machine_rules(), *binds),
            abi=self.abi,
            filter=proot_filter(
                network=sandbox.network,
                forbids_truncating=self.abi < CAN_FORBID_TRUNCATING,
                is_traced=False,
            ),
            cpus=cpus_for(sandbox),
            is_traced=False,
        )


def _check_places(sandbox: Sandbox) -> None:
    """Raise SandboxError if something is to be shown that is not there already."""
    root = sandbox.root.path
    if root != Path("/") and (sandbox.root.mounted_by is not None or os.listdir(root)):
        raise SandboxError(f"Landlock alone shows no image, as {root} is one", _ADVICE)
    for bind in sandbox.binds:
        if not os.path.exists(bind.source):
            raise SandboxError(f"{bind.source} is not there any more", "was it removed meanwhile?")
        if posixpath.normpath(bind.destination) != posixpath.normpath(bind.source):
            raise SandboxError(
                f"Landlock alone shows nothing at another path, as {bind.source} at "
                f"{bind.destination}",
                _ADVICE,
            )
    if sandbox.files:
        raise SandboxError("Landlock alone replaces no files", _ADVICE)


def _is_system(path: str) -> bool:
    """Whether it is not the user's, who could change no mode or time there anyway."""
    return os.stat(path).st_uid != os.getuid()
