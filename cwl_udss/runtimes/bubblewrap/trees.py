# SPDX-License-Identifier: Apache-2.0
"""Directories of a sandbox with many binds in them, which are mounted before bwrap starts.

bwrap looks at all mounts after each bind: a thousand take half a second, and its arguments end with
some three thousand (bubblewrap issues 384, 754). So such a directory is made a *tree*: it is put
together in namespaces around the sandbox's, where nobody else sees it, and bwrap binds it as a
whole. The namespaces are made by bwrap, too, which may be the only program that is allowed to
(AppArmor on Ubuntu); what mounts in them is mount_trees.py.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
import posixpath
import subprocess
import sys
import tempfile
from collections import Counter
from typing import TypeAlias

from cwl_udss.machine.deferral import deferred
from cwl_udss.records import record
from cwl_udss.runtimes.operations import (
    MakeSymlink,
    MountBind,
    MountFile,
    MountTmpfs,
    Operation,
    RemountReadOnly,
)
from cwl_udss.runtimes.words import encode_words

_logger = logging.getLogger(__name__)

# With fewer, what it takes to start two more programs (10 ms) is more than what it saves.
MANY = 128

_PROGRAM = os.path.join(os.path.dirname(os.path.realpath(__file__)), "mount_trees.py")
# Some directory has to give way to the trees in the outer namespace. In this one there is nothing
# that anybody still needs.
_PLACE = os.path.dirname(_PROGRAM)


@record(frozen=True)
class MountTree:
    """A directory with all that is mounted in it, bound from where it was put together."""

    path: str
    source: str


Instruction: TypeAlias = "tuple[str, str, str]"
"""Something for mount_trees.py to do: its kind, one of those in its _mount_all(), the target, and
an argument or ""."""


@record(frozen=True)
class Plan:
    """What is left for bwrap to do, and what is to be done before it starts."""

    operations: tuple[Operation | MountTree, ...]
    instructions: tuple[Instruction, ...] = ()


def plan_trees(operations: tuple[Operation, ...], bwrap: str) -> Plan:
    """Make trees of directories with many binds in them, if that is possible on this machine."""
    plan = gather(operations)
    if plan.instructions and obstacle(bwrap):
        return Plan(operations)
    return plan


def gather(operations: tuple[Operation, ...], many: int = MANY) -> Plan:
    """Make a tree of each directory that has so many binds, or links, directly in it.

    What else is mounted there, files of ours say, is left for bwrap and only gets a mount point.
    """
    holders = _holders(operations)
    crowds = Counter(
        holders[operation.path]
        for operation in operations
        if isinstance(operation, MountBind | MakeSymlink)
    )
    trees = _Trees()
    for operation in operations:
        holder = holders.get(operation.path)
        trees.add(operation, holder, is_crowded=crowds[operation.path] >= many)
    return Plan(tuple(trees.left), tuple(trees.instructions))


class _Trees:
    """The trees so far, and what is in none."""

    def __init__(self) -> None:
        self.left: list[Operation | MountTree] = []
        self.instructions: list[Instruction] = []
        self._places: dict[str | None, str] = {}  # of trees, and of the binds in them
        self._in_memory: set[str | None] = set()

    def add(self, operation: Operation, holder: str | None, *, is_crowded: bool) -> None:
        """Add an operation, `holder` being the path of the mount that it is in."""
        path = operation.path
        if isinstance(operation, RemountReadOnly):
            if path not in self._places:  # else that is done already
                self.left.append(operation)
            return
        if holder is not None and holder in self._places:
            target = self._places[holder] + path[len(holder.rstrip("/")) :]
            if holder in self._in_memory:
                self.instructions.append(_mount_point(operation, target))
            if isinstance(operation, MountBind):
                self._mount(operation, target)
            if isinstance(operation, MountBind | MakeSymlink):
                return
        if is_crowded and isinstance(operation, MountBind | MountTmpfs):
            tree = MountTree(path, f"{_PLACE}/{len(self.instructions)}")
            self.instructions.append(("directory", tree.source, ""))
            self._mount(operation, tree.source)
            self.left.append(tree)
        else:
            self.left.append(operation)

    def _mount(self, mount: MountBind | MountTmpfs, target: str) -> None:
        self._places[mount.path] = target
        if isinstance(mount, MountTmpfs):
            self._in_memory.add(mount.path)
            self.instructions.append(("memory", target, ""))
        else:
            kind = "bind" if mount.writable else "ro-bind"
            self.instructions.append((kind, target, mount.source))


def _mount_point(operation: Operation, target: str) -> Instruction:
    """What makes the mount point of an operation, or its link, in a directory in memory."""
    match operation:
        case MakeSymlink(_, text):
            return "symlink", target, text
        case MountFile() | MountBind(is_directory=False):
            return "file", target, ""
        case _:
            return "directory", target, ""


def _holders(operations: tuple[Operation, ...]) -> dict[str, str | None]:
    """The path of the mount that each operation's own is in, None for the top."""
    holders: dict[str, str | None] = {}
    mounts: set[str] = set()
    for operation in operations:
        if isinstance(operation, RemountReadOnly):
            continue
        above = operation.path
        while above != "/" and (above := posixpath.dirname(above)) not in mounts:
            pass
        holders[operation.path] = above if above in mounts else None
        if not isinstance(operation, MakeSymlink):
            mounts.add(operation.path)
    return holders


def tree_command(bwrap: str, instructions: str, status: str, around: str) -> tuple[str, ...]:
    """Return the beginning of a command line that follows instructions, and is then what comes
    after it.

    Besides bwrap these are numbers of descriptors: one from which to read the instructions (see
    encode_words()), and two for what is said of the sandbox and of the namespaces around it.
    """
    return (
        # A PID namespace, so that nothing is left from the beginning on: the sandbox's bwrap has
        # its processes killed with it only after it is set up.
        *(bwrap, "--unshare-user", "--unshare-pid", "--die-with-parent", "--dev-bind", "/", "/"),
        *("--cap-add", "CAP_SYS_ADMIN", "--json-status-fd", around, "--"),
        *(sys.executable, "-I", "-S", _PROGRAM, instructions, status),
    )


@functools.cache
def obstacle(bwrap: str) -> str:
    """Why no trees can be made on this machine, "" if they can: found by making one."""
    tree = gather((MountTmpfs("/"),), many=0)
    # Files, not pipes: who waits for the end of a pipe waits for all who were given it.
    with (
        tempfile.TemporaryFile() as instructions,
        tempfile.TemporaryFile() as messages,
        open(os.devnull, "wb") as status,
        open(os.devnull, "wb") as around,
    ):
        instructions.write(encode_words(itertools.chain(*tree.instructions)))
        instructions.seek(0)
        descriptors = (instructions.fileno(), status.fileno(), around.fileno())
        with deferred():
            done = subprocess.run(
                [
                    *tree_command(bwrap, *map(str, descriptors)),
                    *(bwrap, "--unshare-user", "--die-with-parent", "--dev-bind", "/", "/", "--"),
                    *(bwrap, "--version"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                pass_fds=descriptors,
                check=False,
            )
        messages.seek(0)
        lines = messages.read().decode(errors="replace").strip().splitlines()
    if done.returncode == 0:
        return ""
    reason = lines[-1] if lines else f"exit code {done.returncode}"
    _logger.warning("steps with more than %d inputs start slowly here: %s", MANY, reason)
    return reason
