# SPDX-License-Identifier: Apache-2.0
"""The directory of a store: who may write to it, and what to do where it cannot be used."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from cwl_udss.errors import StoreError
from cwl_udss.filesystems.system_words import place_words


class Place:
    """A directory that one person writes to, or all of a group."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def is_group(self) -> bool:
        """Whether all of a group write to it."""
        with self.explained():
            self.path.mkdir(parents=True, exist_ok=True, mode=0o755)
            return bool(self.path.stat().st_mode & stat.S_IWGRP)

    def own(self, name: str) -> Path:
        """A directory of the store, made if need be so that the group can write to it, too."""
        path = self.path / name
        is_group = self.is_group
        try:
            path.mkdir()
        except FileExistsError:
            return path
        if is_group:
            path.chmod(0o2775)
        return path

    def check_owner(self) -> None:
        """Refuse a store into which anybody may put images that are run later."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_mode & stat.S_IWOTH:
                raise StoreError(
                    f"anybody may write to the store {self.path}",
                    "take that away (chmod o-w), or choose another with --udss-store",
                )

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what the filesystem says into what the person can do."""
        try:
            yield
        except OSError as error:
            # Names of images are bytes, and may be those that this is of.
            where = place_words(error.errno, Path(os.fsdecode(error.filename or self.path)))
            raise StoreError(
                f"the store {self.path} cannot be used: {error.strerror or error}"
                f"{where and f' ({where})'}",
                _ADVICE.get(error.errno or 0, "look at --udss-store and `cwl-udss doctor`"),
            ) from error


_ADVICE = {
    errno.ENOSPC: "free space there, or choose another place with --udss-store",
    errno.EDQUOT: "your quota is used up: free space, or choose another place with --udss-store",
    errno.EROFS: "it is read-only here: choose another place with --udss-store",
    errno.EACCES: "you may not write there: choose another place with --udss-store",
    errno.EPERM: "you may not write there: choose another place with --udss-store",
}
