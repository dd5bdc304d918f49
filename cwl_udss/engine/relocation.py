# SPDX-License-Identifier: Apache-2.0
"""A run's outputs are put where the person wants them, in time that grows with their number only.

cwltool's relocateOutputs looks at the directories of all steps for each file, and at all files of a
name for each that clashes with them (cwltool.process in 3.1 to 3.3). Of directories that have the
same name and files of the same names it keeps the last one's, or fails.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence
from typing import Any

from cwltool.errors import WorkflowException
from cwltool.loghandler import _logger
from cwltool.pathmapper import MapperEnt, PathMapper
from cwltool.process import compute_checksums, stage_files
from cwltool.stdfsaccess import StdFsAccess
from cwltool.utils import get_listing, visit_class
from schema_salad.ref_resolver import file_uri, uri_file_path

from cwl_udss import copies
from cwl_udss.engine.names import UniqueNames
from cwl_udss.report.trace import traced
from cwl_udss.system_words import system_words

_CLASSES = ("File", "Directory")


def put_outputs(outputs: Any, destination: str, *arguments: Any, **keywords: Any) -> Any:
    """Do what relocate_outputs() does, and say where it is that it cannot be done."""
    try:
        return relocate_outputs(outputs, destination, *arguments, **keywords)
    except OSError as error:
        raise WorkflowException(
            f"the outputs cannot be put into {destination}: {system_words(error)}: "
            "name another directory with --outdir"
        ) from error


def relocate_outputs(  # noqa: PLR0917 - as cwltool calls it
    outputs: Any,
    destination: str,
    source_directories: set[str],
    action: str,
    fs_access: StdFsAccess,
    compute_checksum: bool = True,
    path_mapper: type[PathMapper] = PathMapper,
) -> Any:
    """Move or copy what `outputs` names to a directory, and name it there.

    The parameters, the names of files that clash, and all else are cwltool's, but for directories
    that clash: they are numbered like files.
    """
    with traced("relocate"):
        visit_class(outputs, ("Directory",), functools.partial(get_listing, fs_access))
        if action not in ("move", "copy"):
            return outputs
        found = list(_files_and_directories(outputs))
        visit_class(found, _CLASSES, functools.partial(_resolve, fs_access))
        mapper = path_mapper(found, "", destination, separateDirs=False)
        movable = Prefixes(source_directories if action == "move" else ())
        number_directories(mapper, found, movable.begin)
        number_clashes(mapper)
        stage_files(
            mapper, stage_func=functools.partial(_relocate, movable, fs_access), symlink=False
        )
        visit_class(outputs, _CLASSES, functools.partial(_name, mapper))
        if compute_checksum:
            visit_class(outputs, ("File",), functools.partial(compute_checksums, fs_access))
        return outputs


class Prefixes:
    """Texts, and whether another begins with one of them."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        self._by_length: defaultdict[int, set[str]] = defaultdict(set)
        for prefix in prefixes:
            self._by_length[len(prefix)].add(prefix)

    def begin(self, text: str) -> bool:
        """Say whether any of them is how a text begins."""
        return any(text[:length] in prefixes for length, prefixes in self._by_length.items())


def number_directories(
    mapper: PathMapper, outputs: Iterable[Any], can_merge: Callable[[str], bool]
) -> None:
    """Give directories a path of their own, if a file is to have the same, or another directory,
    unless (by its source) it can be merged into that and has no file of the same name."""
    unique_name = UniqueNames({entry.target for _, entry in mapper.items()})
    files = {entry.target for _, entry in mapper.items() if _is_file(entry)}
    used: set[str] = set()
    for top, entries in _outputs_once(mapper, outputs):
        if top.type == "Directory" and (
            top.target in files
            or (top.target in used and not can_merge(top.resolved))
            or any(_is_file(x) and x.target in used for x in entries.values())
        ):
            target = unique_name(top.target)
            for location, entry in entries.items():
                moved = entry._replace(target=target + entry.target.removeprefix(top.target))
                entries[location] = mapper.update(location, *moved)
        used.update(entry.target for entry in entries.values())


def _outputs_once(
    mapper: PathMapper, outputs: Iterable[Any]
) -> Iterator[tuple[MapperEnt, dict[str, MapperEnt]]]:
    """Each output with all that belongs to it, by location, unless it was part of one before."""
    seen: set[str] = set()
    for output in outputs:
        # Of two File objects of one file cwltool maps only the first one's secondary files.
        locations = (x for x in _locations(output) if x in mapper and x not in seen)
        entries = {location: mapper.mapper(location) for location in locations}
        seen.update(entries)
        if output["location"] in entries:
            yield entries[output["location"]], entries


def _is_file(entry: MapperEnt) -> bool:
    return entry.type is not None and "File" in entry.type


def number_clashes(mapper: PathMapper) -> None:
    """Give files that are to have the same path one each: the next is called `_2`, and so on."""
    sources: dict[str, str] = {}
    taken: set[str] = set()
    unique_name = UniqueNames(taken)
    for key, entry in list(mapper.items()):
        if not _is_file(entry):
            continue
        if sources.setdefault(entry.target, entry.resolved) == entry.resolved:
            taken.add(entry.target)
            continue
        target = unique_name(entry.target)
        sources[target] = entry.resolved
        mapper.update(key, *entry._replace(target=target))


def _files_and_directories(value: Any) -> Iterator[Any]:
    """The File and Directory objects in a value, not those in one another."""
    if isinstance(value, Mapping):
        if value.get("class") in _CLASSES:
            yield value
        else:
            for item in value.values():
                yield from _files_and_directories(item)
    elif isinstance(value, MutableSequence):
        for item in value:
            yield from _files_and_directories(item)


def _locations(entry: Any) -> Iterator[str]:
    """Where a File or Directory object is, and all that belongs to it."""
    yield entry["location"]
    for part in (*entry.get("listing", ()), *entry.get("secondaryFiles", ())):
        yield from _locations(part)


def _resolve(fs_access: StdFsAccess, entry: Any) -> None:
    location = entry["location"]
    if location.startswith("file:"):
        entry["location"] = file_uri(os.path.realpath(uri_file_path(location)))
    elif location.startswith("/"):
        entry["location"] = os.path.realpath(location)
    elif not location.startswith("_:") and ":" in location:
        entry["location"] = file_uri(fs_access.realpath(location))


def _relocate(movable: Prefixes, fs_access: StdFsAccess, source: str, target: str) -> None:
    """Move what the run has made, copy all else."""
    source, target = fs_access.realpath(source), fs_access.realpath(target)
    if source == target:
        return
    is_directory = fs_access.isdir(source)
    if movable.begin(source):
        _logger.debug("Moving %s to %s", source, target)
        if is_directory and fs_access.isdir(target):
            for entry in os.scandir(source):
                _relocate(movable, fs_access, entry.path, fs_access.join(target, entry.name))
        else:
            copies.move(source, target)
        return
    _logger.debug("Copying %s to %s", source, target)
    if is_directory:
        if os.path.isdir(target):
            shutil.rmtree(target)
        elif os.path.isfile(target):
            os.unlink(target)
        copies.copytree(source, target)
    else:
        copies.copy2(source, target)


def _name(mapper: PathMapper, entry: Any) -> None:
    entry["location"] = file_uri(mapper.mapper(entry["location"]).target)
    if entry["class"] == "File":
        entry.pop("contents", None)
