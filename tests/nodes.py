# SPDX-License-Identifier: Apache-2.0
"""Machines that are none: processes with a host name and process ids of their own, which share
nothing with each other but the filesystem."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from commands import COMMANDS
from needs import need


@dataclass(frozen=True)
class Node:
    """A machine by its name, with a scratch directory that it calls its own."""

    name: str
    scratch: Path
    environment: Mapping[str, str]

    def command(self, program: str, *arguments: str | Path) -> list[str | Path]:
        """The command line that runs one of the installed commands there."""
        path = COMMANDS / program if (COMMANDS / program).exists() else program
        # As root of a namespace the name and /proc are made, in another one the caller is himself.
        own = f"hostname {self.name}; exec unshare --user --map-user={os.getuid()}"
        script = f'{own} --map-group={os.getgid()} -- "$@"'
        return [
            *("unshare", "--user", "--map-root-user", "--mount", "--pid", "--uts", "--mount-proc"),
            *("--fork", "--kill-child", "--", "sh", "-c", script, "sh", path, *arguments),
        ]

    def start(
        self, program: str, *arguments: str | Path, **variables: str
    ) -> subprocess.Popen[str]:
        """Start one of the installed commands there, in the node's scratch directory."""
        return subprocess.Popen(
            self.command(program, *arguments),
            cwd=self.scratch,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def make_node(number: int, directory: Path, environment: Mapping[str, str]) -> Node:
    """Return a machine with a scratch directory below `directory`."""
    scratch = directory / f"scratch{number}"
    scratch.mkdir(exist_ok=True)
    variables = {"CWL_UDSS_SCRATCH": str(scratch), "TMPDIR": str(scratch)}
    return Node(f"node{number}", scratch, {**environment, **variables})


def finish(*processes: subprocess.Popen[str]) -> str:
    """Wait for processes, which must succeed; return what all have printed."""
    said = [process.communicate(timeout=300) for process in processes]
    for process, (_, error) in zip(processes, said, strict=True):
        assert process.returncode == 0, error
    return "".join(out for out, _ in said)


def lock_library(directory: Path) -> Path:
    """Compile locks.c; return the library for LD_PRELOAD."""
    if shutil.which("gcc") is None:
        need("needs the Debian package gcc")
    library = directory / "locks.so"
    source = Path(__file__).with_name("locks.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def leftovers(store: Path, *nodes: Node) -> list[str]:
    """What dead or careless processes have left in a store and on nodes, besides what is kept."""
    places = [store / "work"]
    for node in nodes:
        own = node.scratch / f"cwl-udss-{os.getuid()}"
        places += [own / "runs", own / "work"]
    return [str(path) for place in places if place.exists() for path in place.iterdir()]
