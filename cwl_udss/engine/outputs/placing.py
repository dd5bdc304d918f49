# SPDX-License-Identifier: Apache-2.0
"""Which output of a run goes where: decided for all of them before the first is touched.

cwltool's PathMapper knows one place for each file, and of a directory that is an output beside one
of its files it loses that file, or does not, by their order (cwltool.process.relocateOutputs in 3.1
to 3.3).
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableSequence
from typing import Any

from cwltool.pathmapper import PathMapper
from cwltool.stdfsaccess import StdFsAccess
from schema_salad.ref_resolver import file_uri, uri_file_path

from cwl_udss.engine.outputs.names import UniqueNames

_CLASSES = ("File", "Directory")


def copy_of_objects(value: Any) -> Any:
    """Return the same value in which no object occurs twice, so that each can get its own name."""
    if isinstance(value, Mapping):
        return {key: copy_of_objects(item) for key, item in value.items()}
    if isinstance(value, MutableSequence):
        return [copy_of_objects(item) for item in value]
    return value


def files_and_directories(value: Any) -> Iterator[Any]:
    """The File and Directory objects in a value, not those in one another."""
    if isinstance(value, Mapping):
        if value.get("class") in _CLASSES:
            yield value
        else:
            for item in value.values():
                yield from files_and_directories(item)
    elif isinstance(value, MutableSequence):
        for item in value:
            yield from files_and_directories(item)


def resolve(outputs: list[Any], fs_access: StdFsAccess) -> None:
    """Have one location for each file, whichever links and words lead to it: a URI of its path
    without links. What is in a directory that is an output is there, link or not."""
    directories = {
        os.path.realpath(_path(output["location"]))
        for output in outputs
        if output["class"] == "Directory" and _is_path(output["location"])
    }
    for output in outputs:
        _resolve(output, fs_access, directories, None)


def _resolve(entry: Any, fs_access: StdFsAccess, directories: set[str], holder: str | None) -> None:
    location, path = entry["location"], None
    if _is_path(location):
        path = _without_links(_path(location), directories, holder)
        entry["location"] = file_uri(path)
    elif not location.startswith("_:") and ":" in location:
        entry["location"] = file_uri(fs_access.realpath(location))
    for part in entry.get("listing", ()):
        _resolve(part, fs_access, directories, path)
    for part in entry.get("secondaryFiles", ()):
        _resolve(part, fs_access, directories, holder)


def _without_links(path: str, directories: set[str], holder: str | None) -> str:
    if directories:
        name = os.path.basename(path)
        above = os.path.realpath(os.path.dirname(path))
        if holder is not None and above == os.path.realpath(holder):
            return os.path.join(holder, name)
        if above in directories or any(x in directories for x in _above(above)):
            return os.path.join(above, name)
    return os.path.realpath(path)


def _is_path(location: str) -> bool:
    return location.startswith(("file:", "/"))


def _path(location: str) -> str:
    return uri_file_path(location) if location.startswith("file:") else location


def _above(path: str) -> Iterator[str]:
    """The directories that a path is in, from the nearest on."""
    while path not in ("/", ""):
        path = os.path.dirname(path)
        yield path


def place(outputs: list[Any], mapper: PathMapper, destination: str) -> list[Any]:
    """Give all outputs, and what belongs to them, a path in a directory. Return them in the order
    in which they got one.

    A file or directory that is an output twice is there once, and one that is part of another
    output is there; but in Directory literals, and as a secondary file, each has a place of its
    own. What occurs once more gets another location, by which `mapper` knows its path.
    """
    placing = _Placing(mapper)
    placed = _holders_first(outputs)
    for output in placed:
        placing.add(output, destination, is_top=True)
    return placed


def _holders_first(outputs: list[Any]) -> list[Any]:
    holders = {output["location"] for output in outputs if output["class"] == "Directory"}
    parts = {part for output in outputs for part in _literal_parts(output)}

    def is_part(output: Any) -> bool:
        location = output["location"]
        return location in parts or any(x in holders or x in parts for x in _above(location))

    return sorted(outputs, key=is_part)


def _literal_parts(output: Any) -> Iterator[str]:
    if output["location"].startswith("_:"):
        for part in output.get("listing", ()):
            yield part["location"]
            yield from _literal_parts(part)


class _Placing:
    def __init__(self, mapper: PathMapper) -> None:
        self._mapper = mapper
        self._is_directory: dict[str, bool] = {}  # by target, of what is in literals
        self._taken: set[str] = set()
        self._unique_name = UniqueNames(self._taken)

    def add(self, entry: Any, directory: str, *, is_top: bool = False, staged: bool = True) -> None:
        """Place an object in a directory. It is staged if it is not there anyway, as part of what
        is moved or copied with all that is in it."""
        location = entry["location"]
        target = os.path.join(directory, entry["basename"])
        known = self._mapper.mapper(location) if location in self._mapper else None
        if known is not None and (is_top or known.target == target):
            target = known.target
        elif known is not None:
            target = self._own_name(entry, target) if staged else target
            entry["location"] = f"_:again{len(self._mapper.files())}"
            self._mapper.update(entry["location"], known.resolved, target, known.type, staged)
        else:
            if staged and not is_top:
                target = self._own_name(entry, target)
            alone = {key: entry[key] for key in ("class", "location", "contents") if key in entry}
            directory, alone["basename"] = os.path.split(target)
            self._mapper.visit(alone, directory, "", staged=staged)  # type: ignore[arg-type]
        for part in entry.get("listing", ()):
            is_there = part["location"].rpartition("/")[0] == location
            self.add(part, target, staged=staged and not is_there)
        for part in entry.get("secondaryFiles", ()):
            self.add(part, os.path.dirname(target), staged=staged)

    def _own_name(self, entry: Any, target: str) -> str:
        """A directory of a name that something else in its literal has already is numbered. Files
        are numbered with all others, by number_clashes()."""
        is_directory = entry["class"] == "Directory"
        self._taken.add(target)
        if target in self._is_directory and (is_directory or self._is_directory[target]):
            target = self._unique_name(target)
        self._is_directory[target] = is_directory
        return target


class Prefixes:
    """Texts, and whether another begins with one of them."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        self._by_length: defaultdict[int, set[str]] = defaultdict(set)
        for prefix in prefixes:
            self._by_length[len(prefix)].add(prefix)

    def begin(self, text: str) -> bool:
        """Say whether any of them is how a text begins."""
        return any(text[:length] in prefixes for length, prefixes in self._by_length.items())


class Sources:
    """What is to be moved and what copied, of what has been placed."""

    def __init__(self, mapper: PathMapper, movable: Prefixes) -> None:
        """`movable` has the directories of which nothing is needed any more afterwards."""
        self._movable = movable
        staged = [entry for _, entry in mapper.items() if entry.staged]
        self._uses = Counter(entry.resolved for entry in staged)
        self._directories = {x.resolved for x in staged if x.type == "Directory"}
        self._moved = {x.resolved: key for key, x in mapper.items() if x.staged}

    def is_movable(self, source: str) -> bool:
        """Say whether a file may be moved, or be shared with what is moved."""
        return self._movable.begin(source)

    def is_used_once(self, source: str) -> bool:
        """Say whether it is movable and goes to one place only."""
        return self.is_movable(source) and self._uses[source] == 1 and not self._is_part(source)

    def is_moved(self, key: str, source: str) -> bool:
        """Say whether it is moved to its place; what has several is copied to all but the last."""
        is_last = self._moved.get(source) == key
        return is_last and self.is_movable(source) and not self._is_part(source)

    def _is_part(self, source: str) -> bool:
        return any(directory in self._directories for directory in _above(source))
