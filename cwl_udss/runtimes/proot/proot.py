# SPDX-License-Identifier: Apache-2.0
"""PRoot as the runtime, within Landlock and a system call filter.

PRoot only changes what paths mean; what keeps a step from the rest of the machine is what its
processes, PRoot among them, have given up before it began: see landlock.py and filter.py.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.limits import PROOT_LIMITS, SLOW
from cwl_udss.runtimes.mounts import plan_mounts
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.proot.filter import proot_filter
from cwl_udss.runtimes.proot.first import write_first_program
from cwl_udss.runtimes.proot.landlock import CAN_FORBID_TRUNCATING, Rule, limits_of
from cwl_udss.runtimes.proot.launching import Launchers
from cwl_udss.runtimes.proot.metadata import Metadata
from cwl_udss.runtimes.proot.request import Request, cpus_for
from cwl_udss.runtimes.proot.view import FIRST_PROGRAM, View, make_view
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.runtimes.words import check_words
from cwl_udss.sandbox import Limit, Sandbox
from cwl_udss.staging import remove_tree

# What PRoot itself needs to start.
_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")


class Cpus:
    """Those of this process, in turn, beginning with any: others may begin, too."""

    def __init__(self) -> None:
        self._numbers = sorted(os.sched_getaffinity(0))
        self._turns = itertools.count(random.randrange(len(self._numbers)))  # noqa: S311

    def next(self) -> int:
        """Return whose turn it is."""
        return self._numbers[next(self._turns) % len(self._numbers)]


@dataclass(frozen=True, kw_only=True)
class Proot(PipedRuntime):
    """A PRoot that can be used."""

    path: str
    version: str
    loaders: tuple[tuple[str, Path], ...]
    """The programs by which it starts others, each with the variable that tells it so."""
    abi: int
    """Of Landlock."""
    place: Path
    """A directory of this node, in which programs can be executed: each step has one there."""
    is_accelerated: bool
    """Whether only those system calls wait for it that it has to change."""
    launchers: Launchers = field(default_factory=Launchers)
    cpus: Cpus = field(default_factory=Cpus)

    @property
    def description(self) -> str:
        """For the log and `cwl-udss doctor`."""
        return f"PRoot {self.version} ({self.path}) within Landlock {self.abi} and seccomp"

    @property
    def limits(self) -> tuple[Limit, ...]:
        """What this runtime cannot enforce, or does not have."""
        limits = limits_of(PROOT_LIMITS, self.abi)
        return tuple(limit for limit in limits if limit != SLOW or not self.is_accelerated)

    def start_with(self, sandbox: Sandbox, pipes: Pipes) -> RuntimeProcess:
        """Start the sandbox's command (see PipedRuntime)."""
        check_words(sandbox.command, sandbox.environment)
        if sandbox.root.mounted_by is not None:
            raise SandboxError(f"PRoot cannot enter the mount at {sandbox.root.path}")
        if sandbox.devices:
            raise SandboxError(f"PRoot cannot give a sandbox the device {sandbox.devices[0]}")
        with contextlib.ExitStack() as stack:
            try:
                operations = plan_mounts(sandbox)
                place = Path(tempfile.mkdtemp(dir=self.place))
                stack.callback(remove_tree, place)
                view = make_view(operations, place)
                write_first_program(view.devices / os.path.basename(FIRST_PROGRAM), sandbox)
            except OSError as error:
                raise SandboxError("the sandbox cannot be prepared", str(error)) from error
            stack.callback(Metadata(sandbox.binds).compare)
            return self.launchers.process(self.request(view, sandbox), pipes, stack)

    def request(self, view: View, sandbox: Sandbox) -> Request:
        """Return what is to be started for a view."""
        beside = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(self.path))), "lib")
        own = (self.path, beside, *_LIBRARIES, *(str(path) for _, path in self.loaders))
        bindings = (word for binding in view.bindings for word in ("-b", binding))
        return Request(
            # Without -v it says at an end by SIGQUIT that it was told to end.
            arguments=(
                *(self.path, "-v", "-1", "-r", view.root, *bindings, "-w", "/"),
                FIRST_PROGRAM,
            ),
            environment={name: str(path) for name, path in self.loaders},
            rules=(*map(Rule, own), *view.rules),
            abi=self.abi,
            filter=proot_filter(
                network=sandbox.network, forbids_truncating=self.abi < CAN_FORBID_TRUNCATING
            ),
            cpus=cpus_for(sandbox) or ((self.cpus.next(),) if sandbox.cores == 1 else None),
        )
