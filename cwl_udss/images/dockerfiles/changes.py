# SPDX-License-Identifier: Apache-2.0
"""What a build does to files besides running commands, in a root filesystem that it was given.

Run as a program of its own, `python -m cwl_udss.images.dockerfiles.changes JSON`, so that it can be
started where an image's layers are mounted. Paths of the image are followed inside its root, and
nothing else changes it meanwhile. An error is one line on standard error.
"""

from __future__ import annotations

import fnmatch
import json
import os
import posixpath
import shutil
import stat
import sys
from collections.abc import Collection, Iterator
from typing import Any

from cwl_udss.files.paths import components, follow_links

# Where sandboxes mount things of their own, by a name that must lead nowhere else.
_OWN_NAMES = ("dev", "proc", "sys", "etc")
_DIRECTORIES = ("tmp", "var/lib/cwl", "var/spool/cwl")
_FILES = ("etc/passwd", "etc/group", "etc/hosts", "etc/resolv.conf")


def main() -> None:
    """Do what the first argument says: {"do": …, …}."""
    request = json.loads(sys.argv[1])
    try:
        _ACTIONS[request.pop("do")](**request)
    except OSError as error:
        name = error.filename or ""
        sys.exit(f"{error.strerror}: {name.decode() if isinstance(name, bytes) else name}")


def inside(root: str, path: str) -> str:
    """Return where `path` of the root filesystem is, its links followed within that."""

    def link_target(candidate: str) -> str | None:
        try:
            return os.readlink(root + candidate)
        except OSError:  # not there, or not a link
            return None

    return root + follow_links(path, link_target)


def matches(origin: str, pattern: str) -> Iterator[str]:
    """Give the paths of a root filesystem that match, wildcards as in Go's filepath.Match."""
    found = ["/"]
    for part in components(pattern):
        following = []
        for directory in found:
            here = inside(origin, directory)
            if not any(character in part for character in "*?["):
                names = [part] if os.path.lexists(f"{here}/{part}") else []
            else:
                names = fnmatch.filter(os.listdir(here), part) if os.path.isdir(here) else []
            following += [posixpath.join(directory, name) for name in names]
        found = following
    yield from found


def make_directory(root: str, path: str) -> None:
    """Make a directory, and those above it."""
    current = root
    for name in components(inside(root, path)[len(root) :]):
        current = f"{current}/{name}"
        if not os.path.isdir(current):
            os.mkdir(current, 0o755)


def prepare(root: str) -> None:
    """Make what sandboxes mount things on."""
    for name in _OWN_NAMES:
        if os.path.islink(f"{root}/{name}"):
            os.unlink(f"{root}/{name}")
    for name in (*_OWN_NAMES, *_DIRECTORIES):
        make_directory(root, name)
    for name in _FILES:
        path = f"{root}/{name}"
        if os.path.islink(path):  # resolv.conf often is, into /run, which leads nowhere here
            os.unlink(path)
        if not os.path.lexists(path):
            with open(path, "xb"):
                os.chmod(path, 0o644)


def write(root: str, path: str, source: str, mode: int, name: str) -> None:
    """Write the host's file `source`; as `name` if `path` is or is to be a directory."""
    target = _into_directory(root, path, name)
    make_directory(root, posixpath.dirname(target))
    _copy_file(source, inside(root, target), mode)


def copy(
    root: str,
    path: str,
    origin: str,
    sources: list[str],
    mode: int | None = None,
    *,
    ignored: Collection[str] = (),
) -> None:
    """Copy from another root filesystem, or a context, as COPY does: of a directory what is in it,
    without what is ignored."""
    left_out = {*ignored}
    for pattern in sources:
        found = [one for one in sorted(matches(origin, pattern)) if one not in left_out]
        if not found:
            raise FileNotFoundError(2, "COPY finds nothing there", pattern)
        for source in found:
            here = inside(origin, source)
            if os.path.isdir(here):
                make_directory(root, path)
                _copy_tree(here, inside(root, path), root, mode, {origin + one for one in left_out})
            else:
                several = len(found) > 1 or len(sources) > 1
                directory = f"{path}/" if several else path
                target = _into_directory(root, directory, posixpath.basename(source))
                make_directory(root, posixpath.dirname(target))
                _copy_file(here, inside(root, target), mode)


def export(root: str, destination: str) -> None:
    """Copy a whole root filesystem to a new directory of the host, as the store keeps images:
    without special bits, devices and pipes, all of it the owner's to read and to remove."""
    os.mkdir(destination, 0o755)
    counts = _copy_tree(root, destination, destination, None)
    prepare(destination)
    print(json.dumps(counts))


_ACTIONS: dict[str, Any] = {
    "make_directory": make_directory,
    "prepare": prepare,
    "write": write,
    "copy": copy,
    "export": export,
}


def _into_directory(root: str, path: str, name: str) -> str:
    if path.endswith("/") or os.path.isdir(inside(root, path)):
        return posixpath.join(path, name)
    return path


def _copy_tree(
    source: str, target: str, root: str, mode: int | None, left_out: Collection[str] = ()
) -> dict[str, int]:
    """Copy what is in a directory into another, links as links; returns entries and bytes."""
    counts = {"entries": 0, "size": 0}
    copied: dict[tuple[int, int], str] = {}
    pending = [(source, target)]
    finished = []
    while pending:
        here, there = pending.pop()
        for entry in os.scandir(here):
            if entry.path in left_out:
                continue
            destination = f"{there}/{entry.name}"
            status = entry.stat(follow_symlinks=False)
            counts["entries"] += 1
            if stat.S_ISDIR(status.st_mode):
                # A link to a directory stays one, as with Docker; it leads inside the root.
                if os.path.islink(destination):
                    destination = inside(root, destination[len(root) :])
                if not os.path.isdir(destination):
                    _remove(destination)
                    os.mkdir(destination, 0o700)
                pending.append((entry.path, destination))
                finished.append((destination, status))
                continue
            _remove(destination)
            if stat.S_ISLNK(status.st_mode):
                os.symlink(os.readlink(entry.path), destination)
            elif stat.S_ISREG(status.st_mode):
                first = copied.setdefault((status.st_dev, status.st_ino), destination)
                if first != destination:
                    os.link(first, destination)
                else:
                    _copy_file(entry.path, destination, mode)
                    counts["size"] += status.st_size
    for directory, status in reversed(finished):
        os.chmod(directory, stat.S_IMODE(status.st_mode) & 0o1775 | 0o700)
        os.utime(directory, ns=(status.st_mtime_ns, status.st_mtime_ns))
    return counts


def _remove(path: str) -> None:
    """What a file replaces: one, or a link; a directory stays, and is an error then."""
    if os.path.islink(path) or os.path.isfile(path):
        os.unlink(path)


def _copy_file(source: str, target: str, mode: int | None) -> None:
    status = os.stat(source)
    _remove(target)
    shutil.copyfile(source, target, follow_symlinks=False)
    wanted = stat.S_IMODE(status.st_mode) if mode is None else mode
    os.chmod(target, wanted & 0o775 | 0o400)
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))


if __name__ == "__main__":
    main()
