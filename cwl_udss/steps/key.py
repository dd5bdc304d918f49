# SPDX-License-Identifier: Apache-2.0
"""What decides the result of a step, as a key: equal for steps that must make the same.

A sandbox shows a step its image, its environment and its binds, and nothing else. So the key is
made of what the sandbox is about to show, not of the CWL document that asked for it: whatever field
a value came from, it is in the command line, the environment, a file's name or a file's content.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwl_udss.errors import UdssError
from cwl_udss.sandbox import TEMPORARY_DIRECTORY, Bind, Sandbox
from cwl_udss.staging import publish_file

# To be raised when a sandbox shows a step something else than it did for the same key.
RECIPE = 2

# Files from this size on have their checksum kept between runs. Smaller ones are read in the time
# that the small file takes which would hold their checksum.
LARGE_FILE_BYTES = 16 << 20
# A file can change twice within one tick of its filesystem's clock, a second on some Lustre. What
# is kept for longer than a run must be of a file that had been left alone for a while.
SETTLED_AFTER_SECONDS = 10


class Unidentified(UdssError):
    """A step is given something of which no key can be made."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """All that decides what a step leaves in its output directory."""

    sandbox: Sandbox
    image: str
    """Its digest."""
    stdin: str | None = None
    """The path in the sandbox; its content is among the binds."""
    stdout: str | None = None
    stderr: str | None = None


@dataclass(frozen=True, kw_only=True)
class StepKey:
    """A key, and what it was made of in words that may be shown to others."""

    value: str
    """64 hexadecimal digits."""
    description: dict[str, Any]


class Contents:
    """Checksums of files ("sha1$…" as CWL has them), each computed once, by any thread."""

    def __init__(self, directory: Path | None, work: Path) -> None:
        """`directory` keeps the checksums of large files between runs; `work` is a work directory
        on its filesystem. Without it large files are known by their path, size and time."""
        self._directory = directory
        self._work = work
        self._known: dict[tuple[int, ...], str] = {}
        self._lock = threading.Lock()
        self._locks: dict[tuple[int, ...], threading.Lock] = {}

    def record(self, path: str, checksum: str) -> None:
        """Remember what somebody else has computed of a file as it is now."""
        status = os.stat(path)
        with self._lock:
            self._known[_identity(status)] = checksum

    def checksum(self, path: str, status: os.stat_result) -> str:
        """Return a file's checksum; `path` is without links, `status` what stat(2) said of it."""
        identity = _identity(status)
        with self._lock:
            # One reader per file: a genome that all steps of a scatter share is read once.
            lock = self._locks.setdefault(identity, threading.Lock())
        with lock:
            if identity not in self._known:
                self._known[identity] = self._checksum(path, status)
            return self._known[identity]

    def _checksum(self, path: str, status: os.stat_result) -> str:
        if status.st_size < LARGE_FILE_BYTES:
            return _read_checksum(path)
        # Without the device's number: that of a network filesystem differs between nodes.
        facts = "\0".join((path, *map(str, _identity(status)[1:])))
        if self._directory is None:
            return f"stat${facts}"
        kept = self._directory / hashlib.sha256(facts.encode(errors="surrogateescape")).hexdigest()
        try:
            return kept.read_text(encoding="ascii")
        except OSError:
            checksum = _read_checksum(path)
        if time.time() - max(status.st_mtime, status.st_ctime) > SETTLED_AFTER_SECONDS:
            publish_file(kept, checksum.encode(), self._work)
        return checksum


def step_key(step: Step, contents: Contents) -> StepKey:
    """Return the key of a step that is about to run. Reads its inputs as far as need be.

    Raises Unidentified if an input cannot be read, or is neither a file nor a directory.
    """
    sandbox = step.sandbox
    shown_at = {bind.destination for bind in sandbox.binds}
    description = {
        "recipe": RECIPE,
        "image": step.image,
        "command": list(sandbox.command),
        "environment": dict(sandbox.environment),
        "working directory": sandbox.working_directory,
        "stdin": step.stdin,
        "stdout": step.stdout,
        "stderr": step.stderr,
        "network": sandbox.network,
        "shared memory": sandbox.shared_memory_bytes,
        # The output directory is among them: it may have been given files before the step starts.
        "given": {
            bind.destination: {"writable": bind.writable, **_content(bind, contents, shown_at)}
            for bind in sandbox.binds
            if bind.destination != TEMPORARY_DIRECTORY
        },
        "directories": sorted(sandbox.directories),
    }
    # Values of variables may be passwords that nobody has declared to be secrets.
    shown = {**description, "environment": sorted(sandbox.environment)}
    return StepKey(value=_digest(description), description=shown)


def _content(bind: Bind, contents: Contents, shown_at: set[str]) -> dict[str, Any]:
    """What a bind shows: a file by its content, a directory by the digest of all that is in it,
    but for what other binds hide."""
    source = os.path.realpath(bind.source)
    try:
        if not os.path.isdir(source):
            return _entry(source, os.stat(source), contents)
        entries = {
            name: entry
            for name, entry in _entries(source, "", contents)
            if f"{bind.destination}/{name}" not in shown_at
        }
    except OSError as error:
        raise Unidentified(
            f"{error.filename or source} cannot be read: {error.strerror}"
        ) from error
    return {"class": "Directory", "entries": len(entries), "digest": _digest(entries)}


def _entries(root: str, below: str, contents: Contents) -> Iterator[tuple[str, dict[str, Any]]]:
    """All that is below a directory, by relative path. Links are not followed: what they say is
    what the step gets."""
    with os.scandir(os.path.join(root, below)) as found:
        entries = list(found)
    for entry in entries:
        name = os.path.join(below, entry.name)
        yield name, _entry(entry.path, entry.stat(follow_symlinks=False), contents)
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(root, name, contents)


def _entry(path: str, status: os.stat_result, contents: Contents) -> dict[str, Any]:
    # Of the mode only what makes a script a program; the rest follows the umask of the run.
    if stat.S_ISREG(status.st_mode):
        return {
            "class": "File",
            "size": status.st_size,
            "checksum": contents.checksum(path, status),
            "executable": bool(status.st_mode & stat.S_IXUSR),
        }
    if stat.S_ISDIR(status.st_mode):
        return {"class": "Directory"}
    if stat.S_ISLNK(status.st_mode):
        return {"class": "link", "target": os.readlink(path)}
    raise Unidentified(f"{path} is neither a file nor a directory")


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """What is another whenever a file, or a file of that name, may have another content."""
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _read_checksum(path: str) -> str:
    checksum = hashlib.sha1(usedforsecurity=False)
    buffer = memoryview(bytearray(1 << 20))
    with open(path, "rb", buffering=0) as stream:
        while size := stream.readinto(buffer):
            checksum.update(buffer[:size])
    return f"sha1${checksum.hexdigest()}"


def _digest(value: dict[str, Any]) -> str:
    # ASCII: names that are no valid text come out as escaped surrogates.
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
