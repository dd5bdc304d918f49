# SPDX-License-Identifier: Apache-2.0
"""The files that a run is given by URL: each downloaded once, when a step is about to need it.

cwltool takes whatever a web server answers for the file, the page that says 404 too, and keeps it
under ~/.cache (downloadHttpFile).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import cwltool.pathmapper
from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.pathmapper import PathMapper
from cwltool.stdfsaccess import StdFsAccess
from cwltool.utils import DEFAULT_TMP_PREFIX, create_tmp_dir, visit_files_directories

from cwl_udss.errors import DownloadError
from cwl_udss.steps.key import Contents
from cwl_udss.web.addresses import is_remote, without_password
from cwl_udss.web.downloads import Download, Refused, download


class RemoteInputs:
    """Downloads files into a directory of the run, for any number of threads."""

    def __init__(self, *, offline: bool, record: Callable[[str, str], None] | None) -> None:
        """`record` is told the path of each file, and its checksum as CWL has it."""
        self._offline = offline
        self._record = record
        self._directory: Path | None = None
        self._numbers = itertools.count()
        self._gotten: dict[str, Download | DownloadError] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()
        self._prefix = DEFAULT_TMP_PREFIX
        self._is_kept = False

    def __enter__(self) -> RemoteInputs:
        return self

    def __exit__(self, *error: object) -> None:
        if self._directory is not None and not self._is_kept:
            shutil.rmtree(self._directory, ignore_errors=True)

    def place(self, context: RuntimeContext) -> None:
        """Download to where the run has its temporary files, from now on; and leave the files there
        where it leaves what may be links to them."""
        self._prefix = context.tmpdir_prefix
        self._is_kept = not context.rm_tmpdir or context.move_outputs == "leave"

    def get(self, url: str) -> Download:
        """Return the file at a URL, or raise DownloadError; again the same each time."""
        url = url.partition("#")[0]
        with self._locks[url]:
            if url not in self._gotten:
                try:
                    self._gotten[url] = self._get(url)
                except DownloadError as error:
                    self._gotten[url] = error
            found = self._gotten[url]
        if isinstance(found, DownloadError):
            raise found
        return found

    def _get(self, url: str) -> Download:
        if self._offline:
            raise DownloadError(
                f"{without_password(url)} is not downloaded, as the run is --udss-offline",
                "download it where there is a network, and name that file",
            )
        found = download(url, self._new_path())
        if self._record is not None:
            self._record(str(found.path), found.checksum)
        return found

    def _new_path(self) -> Path:
        with self._lock:
            if self._directory is None:
                self._directory = Path(create_tmp_dir(self._prefix))
            return self._directory / str(next(self._numbers))


class RemoteAccess(StdFsAccess):
    """What cwltool reads inputs through outside of steps (loadContents, secondaryFiles)."""

    def __init__(self, inputs: RemoteInputs, basedir: str) -> None:
        super().__init__(basedir)
        self._inputs = inputs

    def open(self, fn: str, mode: str) -> IO[Any]:
        """Open a file, downloaded if need be.

        By a path without links: cwltool gives what it opens for --provenance a second name
        (checksum_copy), and of a link the link itself, which leads nowhere from there.
        """
        path = str(_got(self._inputs, fn).path) if is_remote(fn) else self._abs(fn)
        return super().open(os.path.realpath(path), mode)

    def exists(self, fn: str) -> bool:
        """Say whether a file is there, in which case it is going to be needed."""
        if not is_remote(fn):
            return super().exists(fn)
        try:
            self._inputs.get(fn)
        except Refused:
            return False
        except DownloadError as error:
            raise WorkflowException(str(error)) from error
        return True

    def realpath(self, path: str) -> str:
        """Return where a file is, of one that is handed on as an output, too."""
        return str(_got(self._inputs, path).path) if is_remote(path) else super().realpath(path)

    def fetch(self, files: Iterable[Any]) -> None:
        """Download those of a step's inputs that are at web servers. Raises WorkflowException if
        one cannot be had, or is not the one that the input object describes."""
        visit_files_directories(list(files), self._fetch)

    def _fetch(self, entry: Any) -> None:
        location = str(entry.get("location", ""))
        shown = without_password(location)
        if not is_remote(location):
            scheme, separator, _ = location.partition("://")
            if separator and scheme != "file":
                raise WorkflowException(
                    f"{shown} cannot be downloaded, as only http and https can be, not {scheme}: "
                    "download it yourself, and name that file"
                )
        elif entry["class"] == "File":
            _check(location, entry, _got(self._inputs, location))
        elif "listing" not in entry:
            raise WorkflowException(
                f"{shown} is a directory, and web servers do not say what is in one: "
                "give it a `listing` with the URLs of its files"
            )


@contextlib.contextmanager
def remote_inputs(
    context: RuntimeContext, *, offline: bool, contents: Contents | None
) -> Iterator[RemoteInputs]:
    """Have cwltool take files at web servers from such, in this block."""
    record = None if contents is None else contents.record
    with RemoteInputs(offline=offline, record=record) as inputs:
        context.make_fs_access = cast(type[StdFsAccess], functools.partial(RemoteAccess, inputs))
        # Its mappers of paths look the function up there.
        vars(cwltool.pathmapper)["downloadHttpFile"] = lambda url: (
            str(_got(inputs, url).path),
            None,
        )
        yield inputs


def make_literal(mapper: PathMapper) -> None:
    """Have directories at web servers, of which a listing was given, made anew."""
    for location, entry in list(mapper.items()):
        if is_remote(entry.resolved):
            mapper.update(location, f"_:{location}", entry.target, entry.type, entry.staged)


def _got(inputs: RemoteInputs, url: str) -> Download:
    try:
        return inputs.get(url)
    except DownloadError as error:
        raise WorkflowException(str(error)) from error


def _check(url: str, described: Any, found: Download) -> None:
    """Compare a file with what the input object says of it."""
    for name, value in (("size", found.size), ("checksum", found.checksum)):
        said = described.get(name)
        # Of checksums CWL knows SHA-1 only; nothing can be said of another.
        is_known = name == "size" or str(said).startswith("sha1$")
        if said is not None and is_known and said != value:
            raise WorkflowException(
                f"{without_password(url)} is not the file that the input object describes: its "
                f"{name} is {value}, not {said}: look at both"
            )
