# SPDX-License-Identifier: Apache-2.0
"""Rows in an SQLite database, one for each entry of a directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# A Python that was built where SQLite's headers were not has none.
sqlite3: Any = import_module("sqlite3") if find_spec("_sqlite3") else None

Value = int | bytes
"""What an entry is: a number from 0 of a directory, one below 0 or bytes of anything else."""

_AT_ONCE = 500
_CACHE_KIB = 8 << 10
# Nobody else reads the file, and nothing of it is needed after a crash.
_SETTINGS = f"""
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA cache_size = -{_CACHE_KIB};
    CREATE TABLE entries (
        directory INTEGER, name BLOB, value, layer INTEGER, PRIMARY KEY (directory, name)
    ) WITHOUT ROWID;
    BEGIN;
"""
_PUT = "REPLACE INTO entries VALUES (?, ?, ?, ?)"
_REMOVE = "DELETE FROM entries WHERE directory = ? AND name = ?"
_REMOVE_OLDER = """DELETE FROM entries
    WHERE directory = ? AND layer < ? AND NOT (typeof(value) = 'integer' AND value >= 0)"""
_REMOVE_ALL = "DELETE FROM entries WHERE value = ?"
_GET = "SELECT value, layer FROM entries WHERE directory = ? AND name = ?"
_FIRST = "SELECT name, value FROM entries WHERE directory = ? ORDER BY name LIMIT ?"
_NEXT = "SELECT name, value FROM entries WHERE directory = ? AND name > ? ORDER BY name LIMIT ?"
_DIRECTORIES = """SELECT name, value FROM entries
    WHERE directory = ? AND typeof(value) = 'integer' AND value >= 0"""


class Rows:
    """The database. Its methods raise OSError."""

    def __init__(self, path: Path) -> None:
        """`path` is that of a new file; to remove it is the caller's affair."""
        self._path = path
        # Without locks, which some cluster filesystems lack: nobody else opens it.
        uri = f"{path.absolute().as_uri()}?vfs=unix-none"
        try:
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None)
            self._connection.executescript(_SETTINGS)
        except sqlite3.OperationalError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def put(self, rows: Iterable[tuple[int, bytes, Value, int]]) -> None:
        """Put entries: directory, name, value and layer of each."""
        try:
            self._connection.executemany(_PUT, rows)
        except sqlite3.OperationalError as error:
            raise self._refused(error) from error

    def remove(self, directory: int, name: bytes) -> None:
        """Remove an entry, if it is there."""
        self._execute(_REMOVE, directory, name)

    def remove_older(self, directory: int, layer: int) -> None:
        """Remove from a directory what is of an earlier layer, and no directory."""
        self._execute(_REMOVE_OLDER, directory, layer)

    def remove_all(self, value: Value) -> int:
        """Remove all entries with a value. Returns how many there were."""
        return int(self._execute(_REMOVE_ALL, value).rowcount)

    def get(self, directory: int, name: bytes) -> tuple[Value, int] | None:
        """Return value and layer of an entry."""
        found: tuple[Value, int] | None = self._execute(_GET, directory, name).fetchone()
        return found

    def is_empty(self, directory: int) -> bool:
        """Say whether a directory has no entries."""
        return self._execute(_FIRST, directory, 1).fetchone() is None

    def directories(self, directory: int) -> list[tuple[bytes, Value]]:
        """Return those in a directory."""
        found: list[tuple[bytes, Value]] = self._execute(_DIRECTORIES, directory).fetchall()
        return found

    def by_name(self, directory: int) -> Iterator[tuple[bytes, Value]]:
        """Give a directory's entries in the order of their names."""
        rows = self._execute(_FIRST, directory, _AT_ONCE).fetchall()
        while rows:
            yield from rows
            if len(rows) < _AT_ONCE:
                return
            rows = self._execute(_NEXT, directory, rows[-1][0], _AT_ONCE).fetchall()

    def _execute(self, statement: str, *values: Value) -> Any:
        try:
            return self._connection.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> OSError:
        """What the disk refuses, as where other files are written."""
        number = errno.ENOSPC if "full" in str(error) else errno.EIO
        return OSError(number, f"{os.strerror(number)} ({error})", str(self._path))
