# SPDX-License-Identifier: Apache-2.0
"""Directories that InitialWorkDirRequirement stages, and stages something else in.

cwltool shows the directory as a whole, which hides the files that it has written there, and in
which nobody can make a place for others. Afterwards it removes what was staged, and makes links
(relink_initialworkdir in cwltool.job): in the directory itself, which is somebody's input.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from cwltool.errors import WorkflowException
from cwltool.pathmapper import MapperEnt, PathMapper

from cwl_udss.engine.inputs.path_mapper import is_literal_directory
from cwl_udss.files.links import is_within


def open_overlaid(
    mapper: PathMapper, is_followed: Callable[[str, str], bool]
) -> Iterator[MapperEnt]:
    """Have each such directory staged as a literal of what is in it, so that the one itself stays
    as it is. Yield them as they were.

    `is_followed` is asked for a link that leads out of one, and where it leads.
    """
    staged = {entry.target: (key, entry) for key, entry in mapper.items() if entry.staged}
    holders = {above for target in staged for above in _above(target)}
    for key, entry in list(staged.values()):
        if entry.type != "Directory" or is_literal_directory(entry) or entry.target not in holders:
            continue
        if any(_is_other(inner, entry) for _, inner in staged.values()):
            _Opening(mapper, set(staged), holders, is_followed).open(key, entry)
            yield entry


class _Opening:
    def __init__(
        self,
        mapper: PathMapper,
        staged: set[str],
        holders: set[str],
        is_followed: Callable[[str, str], bool],
    ) -> None:
        self._mapper = mapper
        self._staged = staged
        self._holders = holders
        self._is_followed = is_followed

    def open(self, key: str, directory: MapperEnt) -> None:
        """Stage a directory as a literal, and those in it that others are staged in."""
        self._add(key, f"_:{directory.resolved}", directory.target, "Directory")
        for item in sorted(os.scandir(directory.resolved), key=lambda x: x.name):
            target = os.path.join(directory.target, item.name)
            source = os.path.realpath(item.path)
            if target in self._staged or not self._is_shown(item, source, directory.resolved):
                continue
            kind = "Directory" if item.is_dir() else "File"
            if target not in self._holders:
                self._add(self._new_key(), source, target, kind)
            elif kind == "File":
                raise WorkflowException(
                    f"{target} would be the file {source}, and a directory that something is in"
                )
            else:
                self.open(self._new_key(), MapperEnt(source, target, kind, True))
        for target in self._holders:
            if is_within(target, directory.target) and target not in self._staged:
                self._add(self._new_key(), f"_:{target}", target, "Directory")

    def _is_shown(self, item: os.DirEntry[str], source: str, directory: str) -> bool:
        if item.is_symlink() and not is_within(source, os.path.realpath(directory)):
            return os.path.exists(source) and self._is_followed(item.path, source)
        return item.is_file() or item.is_dir()

    def _add(self, key: str, source: str, target: str, kind: str) -> None:
        self._mapper.update(key, source, target, kind, True)
        self._staged.add(target)

    def _new_key(self) -> str:
        return f"_:opened{len(self._mapper.files())}"


def _is_other(inner: MapperEnt, directory: MapperEnt) -> bool:
    """Say whether something is in a directory only because it is staged there."""
    if inner.target == directory.target or not is_within(inner.target, directory.target):
        return False
    path = os.path.relpath(inner.target, directory.target)
    return inner.resolved != os.path.join(directory.resolved, path)


def collect_opened(mapper: PathMapper, directory: MapperEnt) -> None:
    """Have cwltool collect such a directory, and what is in it, from the output directory, rather
    than take it for the input that it was (revmap_file in cwltool.command_line_tool)."""
    for key, entry in list(mapper.items()):
        if entry.resolved == directory.resolved or (
            entry.target != directory.target and is_within(entry.target, directory.target)
        ):
            kind = f"Writable{str(entry.type).removeprefix('Writable')}"
            mapper.update(key, entry.resolved, entry.target, kind, entry.staged)


def _above(target: str) -> Iterator[str]:
    while target not in ("/", ""):
        target = os.path.dirname(target)
        yield target
