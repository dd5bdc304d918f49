# SPDX-License-Identifier: Apache-2.0
"""Apptainer as the runtime, or Singularity: its command line.

What it adds to a root of its own accord is left out by options, or covered. It takes options from
variables of its caller's environment, too, and the site's configuration has the last word: what
that shows in every container is looked for by probe.py.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass

from cwl_udss.runtimes.engines.engine import Engine
from cwl_udss.runtimes.engines.launching import FIRST_PROGRAM, launch
from cwl_udss.runtimes.engines.view import View, Way, is_text, make_view
from cwl_udss.runtimes.operations import MountBind
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.sandbox import Sandbox

_VARIABLES = ("APPTAINER", "SINGULARITY", "SIFUSER")
# Its configuration may show these in every container. No `dev`: there would be none at all.
_NOT_MOUNTED = "bind-paths,cwd,devpts,home,hostfs,tmp"
# What an image's own %environment is in; Apptainer would execute it before the first program.
_SCRIPTS = "/.singularity.d/env"


@dataclass(frozen=True, kw_only=True)
class Apptainer(Engine):
    """An `apptainer` or a `singularity` that can be used."""

    def start_with(self, sandbox: Sandbox, pipes: Pipes) -> RuntimeProcess:
        """Start the sandbox's command (see PipedRuntime)."""
        with contextlib.ExitStack() as stack:
            view = make_view(sandbox, self.place, stack, Way(can_be_told=is_text))
            if os.path.isdir(f"{sandbox.root.path}{_SCRIPTS}"):
                view.hide(_SCRIPTS)
            return launch(
                (self.path, *arguments(view, network=sandbox.network)),
                own_environment(self.environment),
                sandbox,
                pipes,
                stack,
            )


def arguments(view: View, *, network: bool) -> tuple[str, ...]:
    """Return Apptainer's arguments for a view."""
    words = ["--silent", "exec", "--containall", "--cleanenv", "--no-home", "--no-privs"]
    # Its own init is in nobody's way, but the first program is one.
    words += ["--no-init", "--pwd", "/", "--no-mount", _NOT_MOUNTED]
    words += [] if network else ["--net", "--network", "none"]
    # All other devices that programs count on are in the few of --contain.
    words += ["--bind", "/dev/full"]
    for bind in view.binds:
        words += ["--mount", _mount(bind)]
    return (*words, view.root, FIRST_PROGRAM)


def own_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which no variable is an option, as APPTAINER_BIND is."""
    return {name: value for name, value in environment.items() if not name.startswith(_VARIABLES)}


def _mount(bind: MountBind) -> str:
    """A bind as --mount has it: comma-separated values, in which names may have commas, too."""
    fields = ["type=bind", f"source={bind.source}", f"destination={bind.path}"]
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(fields if bind.writable else [*fields, "ro"])
    return line.getvalue().removesuffix("\n")
