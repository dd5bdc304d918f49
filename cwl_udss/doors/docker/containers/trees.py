# SPDX-License-Identifier: Apache-2.0
"""Files and directories as a tar that flows from one side to the other.

One of the sides is in a container's namespaces, where nothing may be looked up of what a process
has that is not in a container: the tarfile module would ask for the names of owners, and the C
library then loads modules of the container for that (CVE-2019-14271). So of it only the format is
used, and all owners are root.
"""

from __future__ import annotations

import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from typing import IO

from cwl_udss.doors.docker.errors import ContainerError

THIS = "."
"""Behind a directory's path: what is in it."""


def send(source: str, stream: IO[bytes], *, follows: bool) -> None:
    """Write a file, or a directory with all that is in it, by its own name. Raises OSError."""
    name = posixpath.basename(source.rstrip("/"))
    name = THIS if name in ("", ".", "..") else name
    if follows or source.endswith("/"):
        source = os.path.realpath(source)
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        for path, member in _members(source, name):
            if member.isreg():
                with open(path, "rb") as content:
                    archive.addfile(member, content)
            else:
                archive.addfile(member)


def _members(source: str, name: str) -> Iterator[tuple[str, tarfile.TarInfo]]:
    status = os.lstat(source)
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = stat.S_IMODE(status.st_mode) & 0o777, int(status.st_mtime)
    if stat.S_ISREG(status.st_mode):
        member.size = status.st_size
    elif stat.S_ISLNK(status.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(source)
    elif stat.S_ISDIR(status.st_mode):
        member.type = tarfile.DIRTYPE
    else:  # a socket, say
        return
    yield source, member
    if member.isdir():
        for one in sorted(os.listdir(source)):
            yield from _members(f"{source}/{one}", f"{name}/{one}")


def receive(stream: IO[bytes], destination: str, *, is_listing: bool = False) -> None:
    """Write what comes to a destination, as cp(1) does: into a directory that is there, or else by
    this name; if it `is_listing`, all that comes goes into it. Raises ContainerError, OSError."""
    target, first = (destination, "") if is_listing else ("", None)
    if is_listing and not os.path.isdir(destination):
        raise ContainerError(f"{destination} is no directory")
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if first is None:
                first, target = member.name, _target(member, destination)
            below = posixpath.normpath(f"/{member.name[len(first) :]}")
            _write(archive, member, target if below == "/" else f"{target}{below}")


def _target(member: tarfile.TarInfo, destination: str) -> str:
    if os.path.isdir(destination):
        return destination if member.name == THIS else posixpath.join(destination, member.name)
    if member.isdir() and os.path.lexists(destination):
        raise ContainerError(f"{destination} is a file, and cannot become a directory")
    if destination.endswith("/") and not member.isdir():
        raise ContainerError(f"the directory {destination} does not exist")
    return destination.rstrip("/")


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    if member.isdir():
        if not os.path.isdir(path):
            os.mkdir(path)
            os.chmod(path, member.mode & 0o777 | 0o700)
        return
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
        os.unlink(path)
    if member.issym():
        os.symlink(member.linkname, path)
    elif member.isreg():
        content = archive.extractfile(member)
        assert content is not None
        with open(path, "wb") as file:
            while block := content.read(1 << 20):
                file.write(block)
        os.chmod(path, member.mode & 0o777)
        os.utime(path, (member.mtime, member.mtime))
