# SPDX-License-Identifier: Apache-2.0
"""What is mounted in a container, as podman and docker have it written: -v, --mount, --tmpfs."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

from cwl_udss.doors.docker.errors import ContainerError, Program, UsageError
from cwl_udss.machine.quantities import parse_size
from cwl_udss.records import record
from cwl_udss.sandbox import Bind, Memory

# What else -v takes: of SELinux, of propagation and of ids, none of which make a difference here.
_MEANINGLESS = frozenset(
    (
        *("z", "Z", "U", "O", "shared", "rshared", "slave", "rslave", "private", "rprivate"),
        *("unbindable", "runbindable", "bind", "rbind", "cached", "delegated", "consistent"),
        *("nocopy", "copy", "dev", "nodev", "suid", "nosuid", "exec", "noexec", "idmap"),
    )
)
_READ_ONLY = {"": True, "true": True, "1": True, "false": False, "0": False}


@record(frozen=True, kw_only=True)
class Mounts:
    """What is mounted, by kind."""

    binds: tuple[Bind, ...] = ()
    memory: tuple[Memory, ...] = ()
    anonymous: tuple[str, ...] = ()
    """Places of volumes without a name: a directory of the container's own."""


def parse_mounts(
    volumes: Sequence[str], mounts: Sequence[str], tmpfs: Sequence[str], program: Program
) -> Mounts:
    """Read what -v, --mount and --tmpfs were given. Raises UsageError, and ContainerError for what
    is not there."""
    binds: list[Bind] = []
    memory = [_tmpfs(text) for text in tmpfs]
    anonymous = []
    for text in volumes:
        bind = _volume(text)
        if isinstance(bind, str):
            anonymous.append(bind)
        else:
            _see_source(bind, program)
            binds.append(bind)
    for text in mounts:
        found = _mount(text)
        if isinstance(found, Bind):
            if not os.path.exists(found.source):
                raise _no_source(found.source, program)
            binds.append(found)
        elif isinstance(found, Memory):
            memory.append(found)
        else:
            anonymous.append(found)
    return Mounts(binds=tuple(binds), memory=tuple(memory), anonymous=tuple(anonymous))


def _volume(text: str) -> Bind | str:
    """[SOURCE:]DESTINATION[:OPTIONS], of which a destination alone is an anonymous volume."""
    parts = text.split(":")
    if len(parts) == 1:
        return _destination(parts[0], text)
    if len(parts) > 3:
        raise UsageError(f"invalid volume {text!r}", "write SOURCE:DESTINATION[:OPTIONS]")
    source, destination = parts[0], _destination(parts[1], text)
    if not source:
        raise UsageError(f"invalid volume {text!r}", "it names no directory of this machine")
    if not source.startswith(("/", ".")):
        raise UsageError(
            f"{source!r} is the name of a volume, and there are none here",
            f"name a directory: -v ./{source}:{destination}",
        )
    writable = True
    for word in parts[2].split(",") if len(parts) == 3 else []:
        if word in ("ro", "rw"):
            writable = word == "rw"
        elif word not in _MEANINGLESS:
            raise UsageError(f"invalid option {word!r} of the volume {text!r}")
    return Bind(source=os.path.abspath(source), destination=destination, writable=writable)


def _mount(text: str) -> Bind | Memory | str:
    """KEY=VALUE,KEY=VALUE…, as a line of CSV (docker's own word for it)."""
    import csv

    fields = dict(_field(word) for word in next(csv.reader([text]), []))
    kind = _first(fields, "type") or "volume"
    source = _first(fields, "source", "src")
    destination = _first(fields, "target", "destination", "dst")
    if not destination:
        raise UsageError(f"invalid mount {text!r}", "it has no target")
    destination = _destination(destination, text)
    if kind == "tmpfs":
        size = _first(fields, "tmpfs-size")
        return Memory(path=destination, size_bytes=_size(size) if size else None)
    if kind == "volume" and not source:
        return destination
    if kind != "bind":
        raise UsageError(f"invalid mount {text!r}", f"there are no mounts of the type {kind} here")
    if not source:
        raise UsageError(f"invalid mount {text!r}", "it has no source")
    read_only = next((fields[name] for name in ("readonly", "ro") if name in fields), "false")
    if "rw" in fields:
        read_only = "false" if _READ_ONLY.get(fields["rw"], True) else "true"
    if read_only not in _READ_ONLY:
        raise UsageError(
            f"invalid mount {text!r}", f"readonly={read_only} is neither true nor false"
        )
    writable = not _READ_ONLY[read_only]
    return Bind(source=os.path.abspath(source), destination=destination, writable=writable)


def _field(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name.strip().lower(), value


def _first(fields: dict[str, str], *names: str) -> str:
    return next((fields[name] for name in names if fields.get(name)), "")


def _tmpfs(text: str) -> Memory:
    """PATH[:OPTIONS], of which only the size makes a difference."""
    path, _, words = text.partition(":")
    sizes = [word[5:] for word in words.split(",") if word.startswith("size=")]
    return Memory(path=_destination(path, text), size_bytes=_size(sizes[-1]) if sizes else None)


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"invalid size {text!r}", str(error)) from error


def _destination(path: str, text: str) -> str:
    if not path.startswith("/"):
        raise UsageError(f"invalid mount {text!r}", f"{path!r} is no absolute path of a container")
    return posixpath.normpath(path)


def _see_source(bind: Bind, program: Program) -> None:
    """A source that is not there is made by docker, and refused by podman."""
    if os.path.exists(bind.source):
        return
    if program is Program.PODMAN:
        raise _no_source(bind.source, program)
    try:
        Path(bind.source).mkdir(parents=True)
    except OSError as error:
        raise ContainerError(
            f"error while creating mount source path '{bind.source}': {error.strerror}"
        ) from error


def _no_source(source: str, program: Program) -> ContainerError:
    if program is Program.PODMAN:
        return ContainerError(f"statfs {source}: no such file or directory")
    return ContainerError(
        'invalid mount config for type "bind": bind source path does not exist: ' + source
    )
