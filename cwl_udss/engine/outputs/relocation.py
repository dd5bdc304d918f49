# SPDX-License-Identifier: Apache-2.0
"""A run's outputs are put where the person wants them, in time that grows with their number only.

cwltool's relocateOutputs looks at the directories of all steps for each file, and at all files of a
name for each that clashes with them (cwltool.process in 3.1 to 3.3). Of directories that have the
same name and files of the same names it keeps the last one's, or fails.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cwltool.executors
from cwltool.errors import WorkflowException
from cwltool.loghandler import _logger
from cwltool.pathmapper import MapperEnt, PathMapper
from cwltool.process import compute_checksums
from cwltool.stdfsaccess import StdFsAccess
from cwltool.utils import visit_class
from schema_salad.ref_resolver import file_uri

from cwl_udss.engine.outputs.listing import get_listing
from cwl_udss.engine.outputs.names import UniqueNames
from cwl_udss.engine.outputs.placing import (
    Prefixes,
    Sources,
    copy_of_objects,
    files_and_directories,
    place,
    resolve,
)
from cwl_udss.files import copies
from cwl_udss.files.links import copy_directory, is_within, make_whole
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.report.trace import traced
from cwl_udss.staging import remove_tree

TellOfMoves = Callable[[Sequence[tuple[str, str]]], None]


def put_outputs(outputs: Any, destination: str, *arguments: Any, **keywords: Any) -> Any:
    """Do what relocate_outputs() does, and say where it is that it cannot be done."""
    try:
        return relocate_outputs(outputs, destination, *arguments, **keywords)
    except OSError as error:
        raise WorkflowException(
            f"the outputs cannot be put into {destination}: {system_words(error)}: "
            "name another directory with --outdir"
        ) from error


def tell_of_moves(note: TellOfMoves) -> None:
    """Have `note` called with what is going to be moved, and where, before the first of it is."""
    vars(cwltool.executors)["relocateOutputs"] = functools.partial(put_outputs, note=note)


def relocate_outputs(  # noqa: PLR0917 - as cwltool calls it
    outputs: Any,
    destination: str,
    source_directories: set[str],
    action: str,
    fs_access: StdFsAccess,
    compute_checksum: bool = True,
    path_mapper: type[PathMapper] = PathMapper,
    note: TellOfMoves = lambda moves: None,
) -> Any:
    """Move or copy what `outputs` names to a directory, and name it there.

    The parameters, the names of files that clash, and all else are cwltool's, but for directories
    that clash, which are numbered like files, for links, and for what is in several places.
    """
    with traced("relocate"):
        get_listing(fs_access, outputs)
        if action not in ("move", "copy"):
            source_directories.clear()  # else cwltool removes the outputs that it is to leave
            return outputs
        outputs = copy_of_objects(outputs)
        found = list(files_and_directories(outputs))
        resolve(found, fs_access)
        mapper = path_mapper([], "", destination, separateDirs=False)
        placed = place(found, mapper, destination)
        sources = Sources(mapper, Prefixes(source_directories if action == "move" else ()))
        number_directories(mapper, placed, sources.is_used_once)
        number_clashes(mapper, {x.target for _, x in mapper.items() if x.type == "Directory"})
        number_others(mapper, placed)
        deliver(mapper, sources, note)
        visit_class(outputs, ("File", "Directory"), functools.partial(_name, mapper))
        if compute_checksum:
            visit_class(outputs, ("File",), functools.partial(compute_checksums, fs_access))
        return outputs


def number_others(mapper: PathMapper, outputs: Iterable[Any]) -> None:
    """Give a path of its own to an output that would replace a directory by a file, or a file by a
    directory, which were there before."""
    unique_name = UniqueNames({entry.target for _, entry in mapper.items()})
    for top, entries in _outputs_once(mapper, outputs):
        target = top.target
        while os.path.lexists(target) and os.path.isdir(target) != (top.type == "Directory"):
            target = unique_name(top.target)
        if target != top.target:
            _rename(mapper, entries, top.target, target)


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
            _rename(mapper, entries, top.target, unique_name(top.target))
        used.update(entry.target for entry in entries.values())


def _rename(mapper: PathMapper, entries: dict[str, MapperEnt], old: str, new: str) -> None:
    """Have all that is to be at a path, or below, elsewhere."""
    for location, entry in entries.items():
        if is_within(entry.target, old):
            moved = entry._replace(target=new + entry.target.removeprefix(old))
            entries[location] = mapper.update(location, *moved)


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


def number_clashes(mapper: PathMapper, directories: Iterable[str] = ()) -> None:
    """Give files that are to have the same path one each: the next is called `_2`, and so on, but
    as none of the directories."""
    sources: dict[str, str] = {}
    taken = set(directories)
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


def _locations(entry: Any) -> Iterator[str]:
    """Where a File or Directory object is, and all that belongs to it."""
    yield entry["location"]
    for part in (*entry.get("listing", ()), *entry.get("secondaryFiles", ())):
        yield from _locations(part)


def deliver(mapper: PathMapper, sources: Sources, note: TellOfMoves) -> None:
    """Put all that was placed where it is to be: moved if the run has made it, else copied.

    What is copied comes first, as it may be in what is moved.
    """
    # Directories before what is in them.
    staged = sorted(
        ((key, entry) for key, entry in mapper.items() if entry.staged),
        key=lambda item: item[1].target.count("/"),
    )
    moves, copied = [], []
    for key, entry in staged:
        source, target = entry.resolved, entry.target
        if entry.type == "CreateFile" or source.startswith("_:"):
            _make(entry)
        elif sources.is_moved(key, source):
            moves.append((source, target))
            if os.path.isdir(source):
                make_whole(source, source, functools.partial(_share_or_copy, sources))
        else:
            copied.append((source, target))
    for source, target in copied:
        _logger.debug("Copying %s to %s", source, target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _copy(source, target)
    note(moves)
    for source, target in moves:
        _logger.debug("Moving %s to %s", source, target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _move(source, target)


def _make(entry: MapperEnt) -> None:
    if entry.type == "Directory":
        os.makedirs(entry.target, exist_ok=True)
        return
    os.makedirs(os.path.dirname(entry.target), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(entry.target)  # that of an earlier run is read-only
    Path(entry.target).write_text(entry.resolved, encoding="utf-8")
    os.chmod(entry.target, stat.S_IRUSR)


def _share_or_copy(sources: Sources, source: str, target: str) -> None:
    """Give a file that the run has made a second name, and copy any other."""
    if sources.is_movable(source):
        with contextlib.suppress(OSError):  # there are no hard links here
            os.link(source, target)
            return
    copies.copy2(source, target)


def _copy(source: str, target: str) -> None:
    if os.path.realpath(source) == os.path.realpath(target):
        return
    _clear(target)
    if os.path.isdir(source):
        copy_directory(source, target, only_readable=True)
    else:
        copies.copy2(source, target)


def _move(source: str, target: str) -> None:
    """Move to where nothing is lost but what has the same name and is no directory."""
    if os.path.lexists(target) and os.path.samestat(os.lstat(source), os.lstat(target)):
        return
    if not os.path.islink(source) and os.path.isdir(source) and os.path.isdir(target):
        for entry in list(os.scandir(source)):
            _move(entry.path, os.path.join(target, entry.name))
    else:
        _clear(target)
        copies.move(source, target)


def _clear(target: str) -> None:
    if os.path.islink(target) or not os.path.isdir(target):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)
    else:
        remove_tree(Path(target))


def _name(mapper: PathMapper, entry: Any) -> None:
    entry["location"] = file_uri(mapper.mapper(entry["location"]).target)
    if entry["class"] == "File":
        entry.pop("contents", None)
    elif "listing" in entry:  # without the links that were left out
        entry["listing"] = [
            part
            for part in entry["listing"]
            if os.path.exists(mapper.mapper(part["location"]).target)
        ]
