# SPDX-License-Identifier: Apache-2.0
"""What of this machine a command sees: what Apptainer shows by default, what options ask for, and
what a site has closed (apptainer's container_linux.go, "addHomeMount" and its neighbours).
"""

from __future__ import annotations

import logging
import os
import posixpath
from collections.abc import Collection, Iterator
from pathlib import Path

from cwl_udss.doors.apptainer.command_line.binds import parse_binds, parse_mounts
from cwl_udss.doors.apptainer.command_line.parser import Given, split_values
from cwl_udss.doors.mounts import is_within
from cwl_udss.errors import UdssError
from cwl_udss.records import record
from cwl_udss.runtimes.operations import SHARED_MEMORY
from cwl_udss.sandbox import Bind

_logger = logging.getLogger(__name__)

_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - paths in the sandbox
# Where Apptainer does not mount the working directory.
_SYSTEM = ("/", "/etc", "/bin", "/mnt", "/usr", "/var", "/opt", "/sbin", "/lib", "/lib64")
_KERNEL = ("/sys", "/proc", "/dev")
_NO_NETWORK = "none"


@record(frozen=True, kw_only=True)
class Caller:
    """Where a caller is, and what of it a site does not let through."""

    directory: str
    home: str
    hidden: Collection[str] = ()
    """Any of "home", "cwd", "tmp", "network": what is not shown by default."""


@record(frozen=True, kw_only=True)
class View:
    """What a command sees."""

    binds: tuple[Bind, ...]
    """What was asked for."""
    shown: tuple[Bind, ...]
    """What is shown without that."""
    empty: tuple[str, ...]
    """Directories that are its own, empty at the beginning."""
    home: str
    directories: tuple[str, ...]
    """In which it begins: the first that is there. One that was asked for is the only one."""
    network: bool


def view_of(given: Given, caller: Caller) -> View:
    """Return what a command sees. Makes the directories below --workdir. Raises UdssError."""
    is_contained = any(given.flag(name) for name in ("contain", "containall", "compat"))
    source, home = _home(given, caller)
    asked = _without_twice((*parse_binds(given.list("bind")), *parse_mounts(given.list("mount"))))
    shown: dict[str, Bind] = {}
    empty: list[str] = []
    for destination, found in _shown(given, caller, source, home, is_contained=is_contained):
        if found is None:
            empty.append(destination)
        elif os.path.isdir(found):
            shown[destination] = Bind(source=found, destination=destination, writable=True)
        elif os.path.exists(found):
            raise UdssError(f"container creation failed: could not mount {found}: not a directory")
    taken = {bind.destination for bind in asked}
    wanted = given.value("cwd") or given.value("pwd")
    begun = (home,) if is_contained else (caller.directory, home)
    return View(
        binds=asked,
        shown=tuple(bind for path, bind in shown.items() if path not in taken),
        empty=tuple(path for path in dict.fromkeys(empty) if path not in taken | shown.keys()),
        home=home,
        directories=(wanted,) if wanted else (*begun, "/"),
        network=_has_network(given) and "network" not in caller.hidden,
    )


def _home(given: Given, caller: Caller) -> tuple[str, str]:
    """The home directory, and where it is shown."""
    own = f"{caller.home}:/root" if given.flag("fakeroot") else caller.home
    parts = (given.value("home") or own).split(":")
    if len(parts) > 2:
        raise UdssError(f"home argument has incorrect number of elements: {len(parts)}")
    destination = posixpath.normpath(parts[-1])
    if not destination.startswith("/"):
        raise UdssError("home must be an absolute path", f"write {os.path.abspath(parts[0])}")
    return os.path.abspath(parts[0]), destination


def _shown(
    given: Given, caller: Caller, source: str, home: str, *, is_contained: bool
) -> Iterator[tuple[str, str | None]]:
    """What is shown without having been asked for as a mount: where, and what; None for an empty
    directory."""
    left_out = {*split_values(given.list("no-mount"))}
    if given.flag("no-home") or ("home" in caller.hidden and not given.value("home")):
        left_out.add("home")
    if "cwd" in caller.hidden:
        left_out.add("cwd")
    has_own_tmp = is_contained or "tmp" in caller.hidden
    workdir = given.value("workdir")
    if "home" not in left_out and home != "/":
        is_own = is_contained and not given.value("home")
        yield home, _below(workdir, "home") if is_own and workdir else None if is_own else source
    for path in () if "tmp" in left_out else _TEMPORARY:
        if not has_own_tmp:
            yield path, path
        else:
            yield path, _below(workdir, path[1:].replace("/", "_")) if workdir else None
    if not (has_own_tmp or "dev" in left_out):
        yield SHARED_MEMORY, SHARED_MEMORY  # in which processes of MPI find each other
    directory = caller.directory
    if not is_contained and "cwd" not in left_out and not _is_of_system(directory):
        yield directory, directory
    for path in split_values(given.list("scratch")):
        yield posixpath.normpath(path), _below(workdir, f"scratch/{path}") if workdir else None


def _is_of_system(path: str) -> bool:
    real = os.path.realpath(path)
    return any(name in _SYSTEM or name.startswith(_KERNEL) for name in (path, real))


def _below(workdir: str, name: str) -> str:
    path = Path(os.path.abspath(workdir)) / name
    try:
        path.parent.mkdir(exist_ok=True, parents=path.parent != Path(os.path.abspath(workdir)))
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise UdssError(
            f"container creation failed: failed to create {path}: {error.strerror}"
        ) from error
    return str(path)


def _without_twice(binds: Collection[Bind]) -> tuple[Bind, ...]:
    """Binds to different places, none of which is the kernel's."""
    found: dict[str, Bind] = {}
    for bind in binds:
        if is_within(bind.destination, _KERNEL) and not is_within(
            bind.destination, [SHARED_MEMORY]
        ):
            _logger.warning(
                "Skipping %s bind mount: every sandbox has its own %s",
                bind.source,
                "/".join(bind.destination.split("/")[:2]),
            )
        elif bind.destination in found:
            _logger.warning(
                "While bind mounting '%s:%s': destination is already in the mount point list",
                bind.source,
                bind.destination,
            )
        else:
            found[bind.destination] = bind
    return tuple(found.values())


def _has_network(given: Given) -> bool:
    network = given.value("network")
    if network not in ("", _NO_NETWORK):
        raise UdssError(
            f"cwl-udss knows no network {network!r}", "write --network none, or nothing"
        )
    if given.flag("net") and not network:
        raise UdssError(
            "container creation failed: non-root users can only use --network=none",
            "write --net --network none",
        )
    return not network
