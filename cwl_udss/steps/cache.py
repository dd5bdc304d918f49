# SPDX-License-Identifier: Apache-2.0
"""Results of steps, kept for steps with the same key (`--cachedir`).

    cachedir/results/KEY/outputs/     the output directory as the step has left it
    cachedir/results/KEY/result.json  exit code, what must be there, what the key was made of
    cachedir/checksums/               of large inputs (see key.py)
    cachedir/work/                    output directories, by a directory per driver

Correct without locks: a result appears by rename when it is whole. It is kept before CWL's
collection of outputs, which is done anew for each use: an `outputEval` decides nothing here.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cwl_udss.errors import StoreError, UdssError
from cwl_udss.sandbox import Bind
from cwl_udss.staging import (
    move_into_place,
    publish_directory,
    remove_tree,
    sync_tree,
    work_directory,
)
from cwl_udss.steps.key import Contents, StepKey
from cwl_udss.surroundings.outputs import View

_logger = logging.getLogger(__name__)


class Unkept(UdssError):
    """A result means nothing without the run that has made it."""


class _Damaged(UdssError):
    """A result is not as it was when it was kept."""


@dataclass(frozen=True, kw_only=True)
class Leavings:
    """What is in an output directory, by relative path."""

    entries: Mapping[str, int | None]
    """All that is kept; the size if it is a file."""
    links: Mapping[str, str]
    """Links to what the step was given: their targets, as the step knew them. Not kept as links,
    as the next run has its inputs elsewhere."""


@dataclass(frozen=True, kw_only=True)
class KeptResult:
    """What a step has made, in the cache."""

    path: Path
    exit_code: int
    leavings: Leavings

    @property
    def outputs(self) -> Path:
        """The output directory, not to be changed."""
        return self.path / "outputs"


class StepCache:
    """A directory of results, shared by any number of processes."""

    def __init__(self, path: Path, work: Path) -> None:
        """`work` is of this process alone, on the filesystem of `path`."""
        self.contents = Contents(path / "checksums", work)
        self.work = work
        self.is_enabled = True
        self._results = path / "results"
        self._results.mkdir(exist_ok=True)

    def disable(self, reason: str) -> None:
        """Keep and find nothing from now on."""
        if self.is_enabled:
            _logger.warning("--cachedir has no effect: %s", reason)
        self.is_enabled = False

    def find(self, key: StepKey) -> KeptResult | None:
        """Return the result for a key if it is here and whole. Removes one that is not."""
        path = self._results / key.value
        if not path.is_dir():
            return None
        try:
            result = _read(path)
        except OSError as error:
            _logger.warning("the cached result %s cannot be read: %s", path, error.strerror)
            return None
        except _Damaged as damage:
            _logger.warning("the cached result %s is damaged, and replaced: %s", path, damage)
            self._discard(path)
            return None
        with contextlib.suppress(PermissionError):  # somebody else's
            os.utime(path)  # says when it was last of use
        return result

    def keep(
        self, key: StepKey, directory: Path, exit_code: int, binds: tuple[Bind, ...]
    ) -> KeptResult | None:
        """Move an output directory into the cache; its old place is to be filled by show().

        None if another process was first: the directory stays where and as it is. So it does when
        this raises OSError, or Unkept if there is something in it that no later run could be given.
        """
        leavings = _leavings(directory, binds)
        made = self.work / f"made.{secrets.token_hex(8)}"
        made.mkdir()
        record = {"exit_code": exit_code, "leavings": asdict(leavings), "step": key.description}
        (made / "result.json").write_text(json.dumps(record), encoding="ascii")
        targets = {name: os.readlink(directory / name) for name in leavings.links}
        # mkdtemp(3) has made the directory private; whom the cache is for, its owner has said.
        mode = self._results.stat().st_mode & 0o777
        made.chmod(mode)
        # What takes long comes first: who dies between the renames loses what a step has made.
        sync_tree(made)
        sync_tree(directory)
        outputs = made / "outputs"
        directory.rename(outputs)
        path = self._results / key.value
        published = False
        try:
            for name in targets:
                os.unlink(outputs / name)
            outputs.chmod(mode)
            published = move_into_place(made, path)
        finally:
            if not published:
                outputs.rename(directory)
                for name, target in targets.items():
                    with contextlib.suppress(FileExistsError):
                        os.symlink(target, directory / name)
                remove_tree(made)
        return KeptResult(path=path, exit_code=exit_code, leavings=leavings) if published else None

    def _discard(self, path: Path) -> None:
        aside = self.work / f"damaged.{secrets.token_hex(8)}"
        with contextlib.suppress(FileNotFoundError):  # another process was first
            path.rename(aside)
            try:
                _read(aside)
            except _Damaged:
                remove_tree(aside)
            else:
                # It was replaced while we looked; NFS may show what is gone for a minute.
                publish_directory(aside, path)


@contextlib.contextmanager
def open_cache(path: Path) -> Iterator[StepCache]:
    """Open the cache in a directory, made if need be. Removes what dead drivers of this host left.

    Raises StoreError if it cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        try:
            cache = StepCache(path, stack.enter_context(work_directory(path / "work")))
        except OSError as error:
            raise StoreError(
                f"the cache directory {path} cannot be written to: {error.strerror}",
                "name another with --cachedir",
            ) from error
        yield cache


def show(result: KeptResult, directory: Path, view: View) -> None:
    """Fill an output directory with links to a result, so that nothing of it is copied or moved.

    A link to an input is made anew, to where `view` has that input. The directories which hold such
    links, and all else in these, are copied: what is in the cache stays as it is.
    """
    if directory.exists():
        remove_tree(directory)
    directory.mkdir()
    own = {str(above) for name in result.leavings.links for above in Path(name).parents}
    for entry in os.scandir(result.outputs):
        if entry.name in own:
            shutil.copytree(entry.path, directory / entry.name, symlinks=True)
        else:
            os.symlink(entry.path, directory / entry.name)
    for name, target in result.leavings.links.items():
        source = view.source(target)
        assert source is not None  # equal keys have equal destinations
        os.symlink(source, directory / name)


def _leavings(directory: Path, binds: tuple[Bind, ...]) -> Leavings:
    """Look through an output directory in which outputs.confine() has put the links right."""
    entries: dict[str, int | None] = {}
    links: dict[str, str] = {}
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            path = os.path.join(parent, name)
            relative = os.path.relpath(path, directory)
            if not os.path.islink(path):
                entries[relative] = None if name in directories else os.lstat(path).st_size
            elif os.path.isabs(os.readlink(path)):
                links[relative] = _as_given(os.path.realpath(path), binds)
            else:
                entries[relative] = None
    return Leavings(entries=entries, links=links)


def _as_given(path: str, binds: tuple[Bind, ...]) -> str:
    """The path in the sandbox of a file of the host that it was given."""
    for bind in binds:
        source = os.path.realpath(bind.source)
        if f"{path}/".startswith(f"{source}/"):
            return bind.destination + path[len(source) :]
    raise Unkept(f"it has a link to {path}, which is no input")


def _read(path: Path) -> KeptResult:
    """Read a result, and see whether all of it is there. Raises _Damaged."""
    try:
        record = json.loads((path / "result.json").read_text(encoding="ascii"))
        leavings = Leavings(**record["leavings"])
        result = KeptResult(path=path, exit_code=record["exit_code"], leavings=leavings)
    except FileNotFoundError as error:
        raise _Damaged(f"{error.filename} is missing") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _Damaged("result.json is not what was written") from error
    for name, size in leavings.entries.items():
        try:
            status = os.lstat(result.outputs / name)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _Damaged(f"{name} is missing") from error
        if size is not None and status.st_size != size:
            raise _Damaged(f"{name} has {status.st_size} bytes, not {size}")
        if status.st_uid != os.geteuid() and not os.access(result.outputs / name, os.R_OK):
            raise PermissionError(errno.EACCES, f"{name} is somebody else's, and not for you")
    return result
