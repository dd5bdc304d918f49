# SPDX-License-Identifier: Apache-2.0
"""What a user's runs keep for each other and believe later: nobody else may have written it.

A cache is never needed. Where it cannot be read or written, or is somebody else's, there is none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
import time
from pathlib import Path
from typing import Any

_logger = logging.getLogger(__name__)

_DIGEST_BYTES = 64  # of sha256 in hexadecimal digits
_OTHERS = 0o077
_WRITABLE_BY_OTHERS = 0o022
_KEEP_SECONDS = 90 * 24 * 3600


class PrivateCache:
    """A directory of JSON values by key; a key always stands for the same value."""

    def __init__(self, directory: Path) -> None:
        """`directory` is made when there is something to keep."""
        self._directory = directory

    def get(self, key: str) -> Any:
        """Return what was kept, None if there is nothing. What is damaged is removed."""
        path = self._path(key)
        try:
            content = self._read(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            _logger.debug("%s is not used: %s", path, error)
            return None
        digest, value = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(value).hexdigest().encode() == digest:
            return json.loads(value)
        _logger.debug("%s is damaged", path)
        self.drop(key)
        return None

    def put(self, key: str, value: Any) -> None:
        """Keep a value, where that is possible."""
        content = json.dumps(value).encode()
        try:
            self._write(self._path(key), hashlib.sha256(content).hexdigest().encode() + content)
        except OSError as error:
            _logger.debug("nothing is kept in %s: %s", self._directory, error)

    def drop(self, key: str) -> None:
        """Forget a value."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}.json"

    def _read(self, path: Path) -> bytes:
        # Never through a link: that would be a file whose directory nobody has looked at.
        self._check()
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or not is_own(status, _WRITABLE_BY_OTHERS):
                raise PermissionError(f"{path} may be another's")
            return stream.read()

    def _write(self, path: Path, content: bytes) -> None:
        # Only a run that has to write something pays for what this imports.
        from cwl_udss.staging import publish_file, work_directory

        # Beside it may be a store, which would be its group's if that could write there.
        self._directory.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        with contextlib.suppress(FileExistsError):
            self._directory.mkdir(mode=0o700)
        self._check()
        with work_directory(self._directory / "work") as work:
            publish_file(path, content, work, mode=0o600)
        self._remove_old()

    def _check(self) -> None:
        if not is_own(self._directory.lstat(), _OTHERS):
            raise PermissionError(f"{self._directory} is not a directory of this user alone")

    def _remove_old(self) -> None:
        """Remove what other versions have kept; at worst it is made once more."""
        for path in self._directory.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_mtime < time.time() - _KEEP_SECONDS:
                    path.unlink()


def is_own(status: os.stat_result, others: int) -> bool:
    """Say whether a file is this user's, and its mode gives none of `others`."""
    return status.st_uid == os.geteuid() and not status.st_mode & others
