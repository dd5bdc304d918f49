# SPDX-License-Identifier: Apache-2.0
"""Where a step's inputs are put, and by which names cwltool knows them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import ItemsView, Iterable, Iterator, MutableSequence
from pathlib import Path
from typing import Any

from cwltool.errors import WorkflowException
from cwltool.pathmapper import MapperEnt, PathMapper
from schema_salad.ref_resolver import uri_file_path

from cwl_udss.files.links import is_within
from cwl_udss.steps.reuse import open_linked


class NumberingPathMapper(PathMapper):
    """Gives a step's inputs the same paths each time, by numbers; cwltool's are random.

    So a step that is run again has the same command line, and may be found in the cache.
    Unlike cwltool's it puts what has two places in both (see tell_apart()).
    """

    def __init__(
        self,
        referenced_files: MutableSequence[Any],
        basedir: str,
        stagedir: str,
        separateDirs: bool = True,
    ) -> None:
        self._targets: dict[str, MapperEnt] = {}
        super().__init__(referenced_files, basedir, stagedir, separateDirs)
        if not separateDirs:  # cwltool has left out of these what occurs twice
            for file in referenced_files:
                self._visit_top(file, stagedir, basedir)
            # A directory is not copied to where something else is already.
            by_depth = sorted(self._pathmap.items(), key=lambda item: item[1].target.count("/"))
            self._pathmap = dict(by_depth)

    def setup(self, referenced_files: MutableSequence[Any], basedir: str) -> None:
        """Map all files to their targets (cwltool's hook)."""
        for number, file in enumerate(referenced_files):
            directory = self.stagedir
            if self.separateDirs:
                if file["location"] in self._pathmap:  # it would be there for nobody
                    continue
                directory = os.path.join(directory, f"stg{number}")
            self._visit_top(file, directory, basedir)

    def _visit_top(self, file: Any, directory: str, basedir: str) -> None:
        self.visit(file, directory, basedir, copy=bool(file.get("writable")), staged=True)

    def visit(
        self, obj: Any, stagedir: str, basedir: str, copy: bool = False, staged: bool = False
    ) -> None:
        """Map a file or directory, and what belongs to it (cwltool's hook)."""
        location = obj["location"]
        if obj["class"] == "Directory" and location.startswith("file://"):
            _check_directory(uri_file_path(location))
        known = self._pathmap.get(location)
        if location.startswith("_:") and "listing" in obj:
            # Where cwltool has last said that a file is may be another of its places.
            listing = [{k: x[k] for k in x if k != "dirname"} for x in obj["listing"]]
            obj = {**obj, "listing": listing}
        if known is None:
            super().visit(obj, stagedir, basedir, copy=copy, staged=staged)
            if staged:
                self._occupy(self._pathmap[location])
            return
        target = os.path.join(obj.get("dirname") or stagedir, obj["basename"])
        if not staged or (known.staged and known.target == target):
            return
        again = known._replace(target=target, type=_kind(known, copy=copy), staged=True)
        self.update(f"_:again{len(self._pathmap)}", *again)
        self._occupy(again)
        if is_literal_directory(known):
            self.visitlisting(obj.get("listing", []), target, basedir, copy=copy, staged=True)
        self.visitlisting(obj.get("secondaryFiles", []), stagedir, basedir, copy=copy, staged=True)

    def items_exclude_children(self) -> ItemsView[str, MapperEnt]:
        """Return what is staged by itself (cwltool's hook).

        cwltool's leaves out what is in a directory that is staged as well, though it may have been
        staged elsewhere, too.
        """
        return {key: entry for key, entry in self._pathmap.items() if entry.staged}.items()

    def _occupy(self, entry: MapperEnt) -> None:
        """Note what is at a path. CWL: a name that occurs twice in a listing is a fatal error."""
        other = self._targets.setdefault(entry.target, entry)
        are_literals = is_literal_directory(other) and is_literal_directory(entry)
        if other.resolved != entry.resolved and not are_literals:
            raise WorkflowException(
                f"{entry.target} would be both {other.resolved} and {entry.resolved}: names in a "
                "directory must differ"
            )


def _check_directory(path: str) -> None:
    """Refuse what is no directory; of files cwltool checks that they are there."""
    if not os.path.isdir(path):
        kind = "is not a directory" if os.path.exists(path) else "not found"
        raise WorkflowException(f"Input directory {path} {kind}.")


def tell_apart(files: Iterable[Any]) -> None:
    """Give what occurs twice in a step's inputs, in a Directory literal or as a secondary file, a
    location each: cwltool looks up by it what path and name it has.

    `files` are objects with all that belongs to them, some of it once more by itself.
    """
    known: dict[str, Any] = {}
    pending = deque((file, False) for file in files)
    while pending:
        file, has_own_place = pending.popleft()
        location = file["location"]
        first = known.setdefault(location, file)
        if first is not file:
            if not has_own_place and first["basename"] == file["basename"]:
                continue
            while location in known:
                location = _other_location(location)
            file["location"] = location
            known[location] = file
        if location.startswith("_:"):
            pending.extend((part, True) for part in file.get("listing", ()))
        pending.extend((part, True) for part in file.get("secondaryFiles", ()))


def _other_location(location: str) -> str:
    """Another text that leads to the same file."""
    above, _, name = location.rpartition("/")
    return f"{location}_" if location.startswith("_:") else f"{above}/./{name}"


def _kind(entry: MapperEnt, *, copy: bool) -> str:
    """The type of what is put in another place, too, where it may be written to or not."""
    kind = str(entry.type).replace("Writable", "")
    if not copy:
        return kind
    return "CreateWritableFile" if kind == "CreateFile" else f"Writable{kind}"


def is_literal_directory(entry: MapperEnt) -> bool:
    """Say whether it is a directory that nobody has yet."""
    return "Directory" in str(entry.type) and entry.resolved.startswith("_:")


def empty_directories(mapper: PathMapper, outdir: str) -> Iterator[str]:
    """Yield the paths of Directory literals that nothing is staged in, but for those in the output
    directory, where they are made."""
    entries = [entry for _, entry in mapper.items() if entry.staged]
    literals = [entry.target for entry in entries if is_literal_directory(entry)]
    if literals:
        holders = {os.path.dirname(entry.target) for entry in entries}
        yield from (x for x in literals if x not in holders and not is_within(x, outdir))


def open_literals(mapper: PathMapper, outdir: str, place: str) -> None:
    """Have no links, to directories of the cache, where literals were staged in the output
    directory, which the host has at `place`: cwltool removes them (relink_initialworkdir)."""
    for _, entry in mapper.items():
        if entry.type != "Directory" or not is_literal_directory(entry):
            continue
        if is_within(entry.target, outdir):
            open_linked(Path(place, os.path.relpath(entry.target, outdir)))
