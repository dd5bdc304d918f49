# SPDX-License-Identifier: Apache-2.0
"""What a build is given besides its Dockerfile: a directory to copy from, the context, and values
for its arguments.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cwl_udss.images.dockerfiles.changes import inside, matches

_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Given:
    """What who has an image built gives to it."""

    context: Context | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Values for ARG, stronger than those in the Dockerfile."""
    target: str = ""
    """The stage to build, the last one if it is empty."""


class Context:
    """A directory that a build may copy from, but for what is to be ignored."""

    def __init__(self, directory: Path, ignored: Sequence[str] = ()) -> None:
        """`ignored` are the lines of a `.dockerignore`."""
        self.directory = directory
        self._patterns = [*map(_pattern, filter(_says_something, ignored))]

    @cached_property
    def ignored(self) -> list[str]:
        """What must not be copied, as paths in it that begin with /."""
        return sorted(self._look("", is_ignored=False)) if self._patterns else []

    def _look(self, directory: str, *, is_ignored: bool) -> Iterator[str]:
        for entry in os.scandir(f"{self.directory}{directory}"):
            path = f"{directory}/{entry.name}"
            here = is_ignored
            for pattern, is_exception in self._patterns:  # the last that fits counts
                if pattern.fullmatch(path):
                    here = not is_exception
            if entry.is_dir(follow_symlinks=False):
                # What is in an ignored directory may be an exception, and then needs it.
                below = list(self._look(path, is_ignored=here))
                yield from below
                if here and len(below) == len(list(_all(entry.path))):
                    yield path
            elif here:
                yield path

    def key(self, sources: Sequence[str]) -> str | None:
        """Return a name for all that these sources are, with wildcards as in Go's filepath.Match:
        modes, links and contents. None if one of them is nothing."""
        root, left_out = str(self.directory), {*self.ignored}
        digest = hashlib.sha256()
        for pattern in sources:
            found = [path for path in sorted(matches(root, pattern)) if path not in left_out]
            if not found:
                return None
            for path in found:
                digest.update(f"\n{path}\n".encode(errors="surrogateescape"))
                here = inside(root, path).rstrip("/")
                for one in [here, *_all(here)]:
                    if one[len(root) :] not in left_out:
                        _add(digest, one, root)
        return digest.hexdigest()

    def has_archive(self, sources: Sequence[str]) -> bool:
        """Say whether one of these sources is an archive, which Docker's ADD unpacks."""
        root = str(self.directory)
        found = (inside(root, path) for pattern in sources for path in matches(root, pattern))
        return any(os.path.isfile(path) and tarfile.is_tarfile(path) for path in found)


def read_ignored(places: Sequence[Path]) -> list[str]:
    """Return the lines of the first of these files that is there."""
    for path in places:
        if path.is_file():
            return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return []


def _all(path: str) -> Iterator[str]:
    """What is below a directory, in a fixed order; nothing for what is none."""
    if os.path.islink(path) or not os.path.isdir(path):
        return
    for name in sorted(os.listdir(path)):
        yield f"{path}/{name}"
        yield from _all(f"{path}/{name}")


def _add(digest: hashlib._Hash, path: str, root: str) -> None:
    status = os.lstat(path)
    line = f"{path[len(root) :]} {stat.S_IFMT(status.st_mode):o} {status.st_mode & 0o775:o}\n"
    digest.update(line.encode(errors="surrogateescape"))
    if stat.S_ISLNK(status.st_mode):
        digest.update(os.fsencode(os.readlink(path)))
    elif stat.S_ISREG(status.st_mode):
        with open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _pattern(line: str) -> tuple[re.Pattern[str], bool]:
    """A line as what fits a path that begins with /, and whether it is an exception
    (docs.docker.com/build/concepts/context/#dockerignore-files)."""
    text = line.strip()
    is_exception = text.startswith("!")
    text = os.path.normpath(text[is_exception:].strip()).strip("/")
    if text == ".":
        return re.compile(""), is_exception
    found, position = "/", 0
    for match in re.finditer(r"\*\*/?|\*|\?|\\.|\[\^?[^\]]+\]", text):
        found += re.escape(text[position : match.start()])
        position = match.end()
        word = match[0]
        plain = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        found += plain.get(word, re.escape(word[1:]) if word[0] == "\\" else word)
    return re.compile(found + re.escape(text[position:]), re.DOTALL), is_exception
