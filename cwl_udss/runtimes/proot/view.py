# SPDX-License-Identifier: Apache-2.0
"""A sandbox's view as PRoot shows it: bindings, and a directory of the step's own with what is not
the host's. Nothing is mounted, and no mount point is left for PRoot to make."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.operations import (
    MakeSymlink,
    MountBind,
    MountFile,
    MountSpecial,
    MountTmpfs,
    Operation,
)
from cwl_udss.runtimes.proot.landlock import Rule

# What of the host's devices there is (as bwrap(1) --dev has it, without terminals of its own).
_DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
_WRITABLE_DEVICES = ("full", "null", "tty", "zero")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
# Of /proc only what tells nothing of processes: there is no namespace that would hide others'.
_KERNEL_FILES = (
    *("cpuinfo", "filesystems", "loadavg", "meminfo", "stat", "swaps", "uptime", "version"),
    *("vmstat", "sys"),
)
FIRST_PROGRAM = "/dev/cwl-udss"
"""Where the step's first program is."""


def machine_rules() -> tuple[Rule, ...]:
    """Return what every step may read, and write, of the machine: devices, /proc and /sys."""
    devices = (Rule(f"/dev/{name}", name in _WRITABLE_DEVICES) for name in _DEVICES)
    return (*devices, Rule("/sys"), *(Rule(f"/proc/{name}") for name in _KERNEL_FILES))


@dataclass
class View:
    """What PRoot is told, and what Landlock allows."""

    root: str
    bindings: list[str] = field(default_factory=list)
    """Sources and destinations, with a colon between."""
    rules: list[Rule] = field(default_factory=list)

    devices: Path = field(init=False)
    """Where what is in /dev is made."""


def make_view(operations: Iterable[Operation], place: Path) -> View:
    """Make what is needed in `place`, an empty directory, and return the view.

    Raises SandboxError for what this runtime cannot show as it was asked for.
    """
    if ":" in str(place):
        raise SandboxError(
            f"PRoot takes no path with a colon, as of {place}", "name another with --udss-scratch"
        )
    builder = _Builder(place)
    for operation in operations:
        builder.add(operation)
    return builder.finished()


def check_rules(rules: Iterable[Rule]) -> None:
    """Raise SandboxError for what Landlock cannot have: exceptions."""
    rules = tuple(rules)
    writable = {rule.path for rule in rules if rule.writable}
    for rule in rules:
        if not rule.writable and any(above in writable for above in _and_above(rule.path)):
            raise SandboxError(
                f"{rule.path} is to be read only, in a directory that may be written to",
                "Landlock cannot do both: keep one of them elsewhere",
            )


class _Builder:
    def __init__(self, place: Path) -> None:
        # The root, as long as no other is bound there.
        self._top = place / "root"
        self._top.mkdir()
        self._place = place
        self._made: dict[str, Path | None] = {"/": self._top}
        """Where what is shown at a path was made; None for what is the host's."""
        self._view = View(str(self._top), rules=[Rule(str(place)), *machine_rules()])

    def add(self, operation: Operation) -> None:
        match operation:
            case MountBind("/", source):
                self._view.root = source
                self._view.rules.append(Rule(source))
                self._made["/"] = None
            case MountBind(path, source, writable, is_directory):
                self._view.rules.append(Rule(os.path.realpath(source), writable))
                self._bind(source, path, is_directory=is_directory)
                self._made[path] = None
            case MountTmpfs(path, writable):
                made = self._memory(path)
                if writable:
                    made.chmod(0o1777)
                    self._view.rules.append(Rule(str(made), writable))
            case MountFile(path, content):
                self._bind(str(self._file(content)), path, is_directory=False)
            case MakeSymlink(path, target):
                point = self._mount_point(path)
                assert point is not None  # links are only made again in what is made
                point.symlink_to(target)
            case MountSpecial("/dev"):
                self._devices(self._memory("/dev"))
            case MountSpecial(path):
                self._bind(path, path, is_directory=True)
                self._made[path] = None

    def finished(self) -> View:
        check_rules(self._view.rules)
        return self._view

    def _memory(self, path: str) -> Path:
        """A directory with nothing in it but what is added."""
        made = self._new()
        made.mkdir()
        self._bind(str(made), path, is_directory=True)
        self._made[path] = made
        return made

    def _file(self, content: bytes) -> Path:
        made = self._new()
        made.write_bytes(content)
        return made

    def _new(self) -> Path:
        return self._place / str(len(self._view.bindings))

    def _bind(self, source: str, path: str, *, is_directory: bool) -> None:
        if not os.path.exists(source):  # PRoot would do without
            raise SandboxError(f"{source} is not there any more", "was it removed while this ran?")
        point = self._mount_point(path)
        if point is not None and is_directory:
            point.mkdir(exist_ok=True)
        elif point is not None:
            point.touch()
        if ":" in source:  # which ends the source for PRoot, that knows no other way to write it
            link = self._new().with_suffix(".link")
            link.symlink_to(source)
            source = str(link)
        self._view.bindings.append(f"{source}:{path}")

    def _mount_point(self, path: str) -> Path | None:
        """Where what is at a path is to be made; None if it is there already."""
        for above in _and_above(posixpath.dirname(path)):
            if above in self._made:
                made = self._made[above]
                if made is None:
                    return None
                point = made / path[len(above) :].lstrip("/")
                point.parent.mkdir(parents=True, exist_ok=True)
                return point
        return None

    def _devices(self, made: Path) -> None:
        self._view.devices = made
        for name in _DEVICES:
            device = f"/dev/{name}"
            self._bind(device, device, is_directory=False)
        for name, target in _DEVICE_LINKS.items():
            (made / name).symlink_to(target)
        shared = made / "shm"
        shared.mkdir()
        shared.chmod(0o1777)
        self._view.rules.append(Rule(str(shared), writable=True))


def _and_above(path: str) -> Iterable[str]:
    """A path, and all directories that it is in."""
    yield path
    while path not in ("/", ""):
        path = posixpath.dirname(path)
        yield path
