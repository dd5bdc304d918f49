# SPDX-License-Identifier: Apache-2.0
"""Which files and directories of a run are in its crate, and under which names."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from cwl_udss.report.crate.graph import path_id, text, url_id

INPUTS, OUTPUTS = "inputs", "outputs"
"""The rooms of a crate."""
MOST_OF_ONE, _MOST_OF_ALL = 10 << 20, 100 << 20
_MOST_LISTED = 1000
"""Files of one directory."""


@dataclass(frozen=True, kw_only=True)
class Addition:
    """What is to be put into a crate: a copy, or a text."""

    target: str
    """The path in the crate."""
    source: Path | None = None
    content: str = ""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a file or a directory is, for a crate."""

    identifier: str
    """Empty if it is neither in the crate nor on the web."""
    path: Path | None = None
    """Where it can be looked at now."""


class CrateFiles:
    """Chooses what is copied: what is small. What is in the crate's directory is there already."""

    def __init__(self, directory: Path) -> None:
        self._directory = Path(os.path.realpath(directory))
        self._left = _MOST_OF_ALL
        self._taken: set[str] = set()
        self.additions: list[Addition] = []

    def add_texts(self, folder: str, texts: Mapping[str, str]) -> str:
        """Have texts in a folder of the crate, by their names; return which."""
        name, number = folder, 1
        while not self._may_have(name, texts):
            number += 1
            name = f"{folder}_{number}"
        self.additions += (
            Addition(target=f"{name}/{file}", content=content) for file, content in texts.items()
        )
        return name

    def _may_have(self, folder: str, texts: Mapping[str, str]) -> bool:
        """Whether a folder is new, or has that already."""
        return all(self._may_be(f"{folder}/{file}", None, text) for file, text in texts.items())

    def place(self, value: Mapping[str, Any], room: str) -> Place:
        """Find a file or directory, or have it copied into a room of the crate; none is "": then it
        is not."""
        location = str(value.get("location") or value.get("path") or "")
        if urlsplit(location).scheme in ("http", "https", "ftp"):
            return Place(identifier=url_id(location))
        contents, name = value.get("contents"), str(value.get("basename") or "")
        path = local_path(location)
        if path is None:
            if not isinstance(contents, str) or not room or value["class"] != "File":
                return Place(identifier="")
            target = self._free_name(f"{room}/{safe(name or 'literal')}", None, contents)
            self.additions.append(Addition(target=target, content=contents))
            return Place(identifier=path_id(target))
        real = Path(os.path.realpath(path))
        if not real.exists():
            return Place(identifier="")
        if real.is_relative_to(self._directory) and real != self._directory:
            inside = path_id(os.fsdecode(real.relative_to(self._directory)))
            return Place(identifier=f"{inside}/" if real.is_dir() else inside, path=real)
        if not room:
            return Place(identifier="", path=real)
        return self._copied(real, f"{room}/{safe(name or path.name)}")

    def _copied(self, real: Path, target: str) -> Place:
        files = [real] if real.is_file() else files_in(real)
        size = None if files is None else sum(file.stat().st_size for file in files)
        if files is None or size is None or size > min(MOST_OF_ONE, self._left):
            return Place(identifier="", path=real)
        self._left -= size
        if real.is_file():
            target = self._free_name(target, real, "")
            self.additions.append(Addition(target=target, source=real))
            return Place(identifier=path_id(target), path=real)
        target = self._free_name(target, None, "")
        for file in files:
            inside = "/".join(map(safe, file.relative_to(real).parts))
            self.additions.append(Addition(target=f"{target}/{inside}", source=file))
        return Place(identifier=f"{path_id(target)}/", path=real)

    def _free_name(self, target: str, source: Path | None, content: str) -> str:
        """Return the name, or one like it, under which nothing else is."""
        path = PurePosixPath(target)
        number = 1
        while target in self._taken or not self._may_be(target, source, content):
            number += 1
            target = str(path.with_name(f"{path.stem}_{number}{path.suffix}"))
        self._taken.add(target)
        return target

    def _may_be(self, target: str, source: Path | None, content: str) -> bool:
        there = self._directory / target
        if not os.path.lexists(there):
            return True
        if not there.is_file() or there.is_symlink():
            return False
        if source is not None:
            return filecmp.cmp(source, there, shallow=False)
        return bool(content) and there.read_bytes() == content.encode()


def local_path(location: str) -> Path | None:
    """Return the path of a location on this machine."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path, errors="surrogateescape"))
    return Path(location) if os.path.isabs(location) else None


def files_in(directory: Path) -> list[Path] | None:
    """Return the files in a directory, and in those in it; None if they are too many."""
    found: list[Path] = []
    for root, directories, names in os.walk(directory):
        directories.sort()
        found += (path for name in sorted(names) if (path := Path(root, name)).is_file())
        if len(found) > _MOST_LISTED:
            return None
    return found


def safe(name: str) -> str:
    """A name that is one, in any directory, and for any reader."""
    cleaned = text(name).replace("/", "_")
    return "_" if cleaned in ("", ".", "..") else cleaned
