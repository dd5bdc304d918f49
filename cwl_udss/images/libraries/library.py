# SPDX-License-Identifier: Apache-2.0
"""One library: looks for an image by its names, each once, and never lists a directory.

A filesystem may answer late or never (CVMFS without network, NFS and sshfs without their server),
and a system call on it cannot be called back. So each look is on a thread that may be left behind,
and a library that does not answer is not asked again by the run.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from cwl_udss.errors import ImageError
from cwl_udss.images.libraries.place import LibraryPlace
from cwl_udss.images.manifests.manifest import Platform
from cwl_udss.images.reference import ImageReference
from cwl_udss.images.store.image import StoredImage
from cwl_udss.records import record

_logger = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

PATIENCE_SECONDS = 10.0
NOT_THERE = "is not there"
_ABSENT = (errno.ENOENT, errno.ENOTDIR)
# What says something of the one file; all else is of the filesystem: EIO, ESTALE, ENOTCONN, …
_OF_ONE_NAME = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG)


@record(frozen=True, kw_only=True)
class Found:
    """What a library has under a name."""

    path: Path
    image: StoredImage | None
    """None if it has to be read first: an archive, or a SIF file of several layers."""
    place: LibraryPlace

    @property
    def digest(self) -> str:
        """What proves which image it is; "" if only its name says so."""
        return self.image.digest if self.image else ""


class _Silent(Exception):
    """A filesystem does not answer."""


class Library:
    """A directory of images, for any number of threads."""

    def __init__(
        self, place: LibraryPlace, *, is_known: bool = False, patience: float = PATIENCE_SECONDS
    ) -> None:
        """`is_known` says that nobody has named it: it need not be there."""
        self.place = place
        self._is_known = is_known
        self._patience = patience
        self._lock = threading.Lock()
        self._latest = 0.0
        self._is_usable: bool | None = None

    def find(
        self,
        text: str,
        reference: ImageReference | None,
        platform: Platform,
        accepts: Callable[[Found], bool] = lambda found: True,
    ) -> Found | None:
        """Return what is there under one of the names of an image, the first that is accepted. What
        cannot be used is warned of, and passed over."""
        paths = self.place.convention.paths(text, platform)
        if not paths:
            return None
        # One asks for all: they would all wait for the same.
        with self._lock:
            self._latest = time.monotonic() + self._patience
            try:
                if self._is_usable is None:
                    self._is_usable = self._is_there()
                found = self._found(paths, reference, platform) if self._is_usable else ()
                return next(filter(accepts, found), None)
            except (_Silent, OSError) as error:
                problem = self._words(error)
            self._is_usable = False
            _logger.warning("the library %s %s, and is passed over", self.place, problem)
            return None

    def problem(self) -> str:
        """Return why it cannot be used, "" if it can."""
        with self._lock:
            self._latest = time.monotonic() + self._patience
            try:
                return "" if self._ask(partial(_status, self.place.path)) else NOT_THERE
            except (_Silent, OSError) as error:
                return self._words(error)

    def _words(self, error: Exception) -> str:
        if isinstance(error, OSError):
            return f"cannot be read: {error.strerror or error}"
        return f"does not answer within {self._patience:.0f} s"

    def _is_there(self) -> bool:
        status = self._ask(partial(_status, self.place.path))
        if status is None and not self._is_known:
            _logger.warning("the library %s %s, and is passed over", self.place, NOT_THERE)
        return status is not None

    def _found(
        self, paths: Sequence[str], reference: ImageReference | None, platform: Platform
    ) -> Iterator[Found]:
        from cwl_udss.images.libraries.look import look  # most runs have no library

        convention = self.place.convention
        for name in paths:
            path = self.place.path / name
            try:
                if self._ask(partial(_status, path)) is None:
                    continue
                seen = self._ask(partial(look, path, convention, reference, platform))
            except ImageError as error:
                said = str(error)
                named = said if str(path) in said else f"{path}: {said}"
                _logger.warning("passed over in the library %s: %s", self.place, named)
                continue
            except OSError as error:
                if error.errno not in _OF_ONE_NAME:
                    raise
                _logger.warning("%s is passed over: %s", path, error.strerror)
                continue
            if seen is not None:
                yield Found(path=path, image=seen.image, place=self.place)

    def _ask(self, question: Callable[[], _Answer]) -> _Answer:
        """The answer to a question to the filesystem. Raises _Silent if it takes too long, and what
        `question` raises."""
        from concurrent.futures import Future, TimeoutError  # most machines have no library

        answer: Future[_Answer] = Future()

        def ask() -> None:
            try:
                answer.set_result(question())
            except Exception as error:  # noqa: BLE001 - raised by who waits
                answer.set_exception(error)

        # Those of a pool are waited for at the end of the process.
        threading.Thread(target=ask, name="library", daemon=True).start()
        try:
            return answer.result(max(self._latest - time.monotonic(), 0))
        except TimeoutError as error:
            raise _Silent from error


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return None
