# SPDX-License-Identifier: Apache-2.0
"""Entries of directories in a file, so that memory does not grow with the files of an image.

What was put last is in memory, and all of it in an image of usual size; the rest is in a
database. Directories, and what has several names, stay in memory as well: they are found by way of
it, and are the same object each time.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cwl_udss.images.layers.members import Extent
from cwl_udss.images.trees.rows import Rows, Value, sqlite3
from cwl_udss.images.trees.tree import Directory, Entries, Node, RegularFile, SymbolicLink

_MOST_IN_MEMORY = 60_000  # nearly all images have fewer, and need no database
_MOST_UNWRITTEN = 10_000  # as soon as there is one
_MARSHAL_VERSION = 2  # the last one without references to what was written before, which take time

_Recent = dict[bytes, tuple[Node | None, int]]
_NOTHING: _Recent = {}  # is never changed
_ABSENT = (None, -1)


class EntryTable:
    """The entries of all directories of a tree."""

    def __init__(self, path: Path | None = None, *, most_in_memory: int = _MOST_IN_MEMORY) -> None:
        """`path` is that of a file, which is made when it is needed; without it, and where Python
        has no SQLite, all stays in memory. To remove the file is the caller's affair."""
        self._path = path if sqlite3 is not None else None
        self._most_in_memory = most_in_memory
        self._rows: Rows | None = None
        self._unwritten: list[TableEntries] = []
        self._count = 0  # of entries that are not written
        self._directories: list[Directory] = []
        self._linked: list[Node] = []
        self._numbers: dict[Node, int] = {}
        self.layer = 0
        """That of what is put now. Layers count up."""

    @property
    def linked(self) -> frozenset[Node]:
        """What may have several names."""
        return frozenset(self._linked)

    def close(self) -> None:
        """Close the file. Nothing may be read of the tree after that."""
        if self._rows is not None:
            self._rows.close()

    def directory(self) -> Directory:
        """Return a new directory, whose entries are here."""
        made = Directory(entries=TableEntries(self, len(self._directories)))
        self._directories.append(made)
        return made

    def link(self, node: Node) -> bool:
        """From now on a node may have several names, and is the same object under each. Returns
        whether that is new."""
        if node in self._numbers:
            return False
        self._numbers[node] = -1 - len(self._linked)
        self._linked.append(node)
        return True

    def remove_all(self, node: Node) -> int:
        """Remove all entries that are a linked node. Returns how many there were."""
        if self._rows is None:
            return sum(entries.forget(node) for entries in self._unwritten)
        return self.written().remove_all(self._numbers[node])

    def make_room(self) -> None:
        """One more entry is about to be put into memory."""
        if self._count >= self._most_in_memory and self._path is not None:
            self.written()
        self._count += 1

    def note(self, entries: TableEntries) -> None:
        """Some of these are in memory from now on."""
        self._unwritten.append(entries)

    def written(self) -> Rows:
        """Return the rows, when all that is in memory is among them."""
        if self._rows is None:
            assert self._path is not None
            self._rows = Rows(self._path)
            self._most_in_memory = min(self._most_in_memory, _MOST_UNWRITTEN)
        if self._unwritten:
            unwritten, self._unwritten, self._count = self._unwritten, [], 0
            self._rows.put(self._handed_over(self._rows, unwritten))
        return self._rows

    def _handed_over(
        self, rows: Rows, unwritten: list[TableEntries]
    ) -> Iterator[tuple[int, bytes, Value, int]]:
        """The rows that are to be put; others are removed. One by one, as there may be many."""
        for entries in unwritten:
            for name, (node, layer) in entries.handed_over().items():
                if node is None:
                    rows.remove(entries.number, name)
                else:
                    yield entries.number, name, self._encoded(node), layer

    def get(self, directory: int, name: bytes) -> tuple[Node | None, int]:
        """Return an entry that may have been written, and the layer that it is of."""
        assert self._rows is not None
        row = self._rows.get(directory, name)
        return _ABSENT if row is None else (self.decoded(row[0]), row[1])

    def decoded(self, value: Value) -> Node:
        """Return the node of a row."""
        if isinstance(value, int):
            return self._directories[value] if value >= 0 else self._linked[-1 - value]
        fields = marshal.loads(value)  # noqa: S302 (we have written it just now)
        if len(fields) == 2:
            return SymbolicLink(*fields)
        mode, mtime, size, layer, offset, extents, attributes = fields
        if extents is not None:
            extents = tuple(map(Extent._make, extents))
        return RegularFile(mode, mtime, size, layer, offset, extents, attributes)

    def _encoded(self, node: Node) -> Value:
        if isinstance(node, Directory):
            assert isinstance(node.entries, TableEntries)
            return node.entries.number
        number = self._numbers.get(node)
        if number is not None:
            return number
        if isinstance(node, SymbolicLink):
            return marshal.dumps((node.target, node.mtime), _MARSHAL_VERSION)
        extents = None if node.extents is None else tuple(map(tuple, node.extents))
        where = (node.size, node.layer, node.offset, extents)
        fields = (node.mode, node.mtime, *where, dict(node.attributes))
        return marshal.dumps(fields, _MARSHAL_VERSION)


class TableEntries(Entries):
    """What is in one directory."""

    __slots__ = ("_is_written", "_recent", "_table", "number")

    def __init__(self, table: EntryTable, number: int) -> None:
        """`number` is that of the directory in the table."""
        self._table = table
        self._recent = _NOTHING
        self._is_written = False  # anything of it
        self.number = number

    def __getitem__(self, name: bytes) -> Node:
        """Return an entry. Raises KeyError."""
        node, _ = self._find(name)
        if node is None:
            raise KeyError(name)
        return node

    def get(self, name: bytes, default: Any = None) -> Any:
        """Return an entry, or `default`."""
        node, _ = self._find(name)
        return default if node is None else node

    def __setitem__(self, name: bytes, node: Node) -> None:
        """Put an entry, as one of the layer that the table is at."""
        self._put(name, node, self._table.layer)

    def __delitem__(self, name: bytes) -> None:
        """Remove an entry, which is there."""
        if self._is_written:
            self._put(name, None, self._table.layer)
        else:
            del self._recent[name]

    def __iter__(self) -> Iterator[bytes]:
        """Return the names in their order."""
        return (name for name, _ in self.by_name())

    def __len__(self) -> int:
        """Return how many there are; whether there are any is known sooner."""
        return sum(1 for _ in self.by_name())

    def __bool__(self) -> bool:
        """Say whether there are any."""
        if not self._is_written:
            return bool(self._recent)
        return not self._table.written().is_empty(self.number)

    def by_name(self) -> Iterator[tuple[bytes, Node]]:
        """See Entries."""
        if self._is_written:
            for name, value in self._table.written().by_name(self.number):
                yield name, self._table.decoded(value)
            return
        for name in sorted(self._recent):
            node, _ = self._recent[name]
            assert node is not None
            yield name, node

    def directories(self) -> list[tuple[bytes, Directory]]:
        """Return the directories among them."""
        if self._is_written:
            rows = self._table.written().directories(self.number)
            found = [(name, self._table.decoded(value)) for name, value in rows]
        else:
            found = list(self.by_name())
        return [(name, node) for name, node in found if isinstance(node, Directory)]

    def is_new(self, name: bytes) -> bool:
        """Say whether an entry, which is there, has been put since the table is at its layer."""
        return self._find(name)[1] == self._table.layer

    def link(self, name: bytes) -> Node | None:
        """Return what is there, which may have several names from now on if it is no directory."""
        node, layer = self._find(name)
        if node is not None and not isinstance(node, Directory) and self._table.link(node):
            self._put(name, node, layer)  # it may have been written as what has one name
        return node

    def discard_older(self) -> None:
        """Remove what is no directory, and of an earlier layer than that the table is at."""
        if self._is_written:
            self._table.written().remove_older(self.number, self._table.layer)
            return
        older = [
            name
            for name, (node, layer) in self._recent.items()
            if layer < self._table.layer and not isinstance(node, Directory)
        ]
        for name in older:
            del self._recent[name]

    def forget(self, node: Node) -> int:
        """Remove a node, of those that are not written. Returns how many there were."""
        names = [name for name, (found, _) in self._recent.items() if found is node]
        for name in names:
            del self._recent[name]
        return len(names)

    def handed_over(self) -> _Recent:
        """Return what is in memory, to be written; it is not in memory from now on."""
        recent, self._recent = self._recent, _NOTHING
        self._is_written = True
        return recent

    def _find(self, name: bytes) -> tuple[Node | None, int]:
        """What is there, and the layer that it is of."""
        found = self._recent.get(name)
        if found is not None:
            return found
        return self._table.get(self.number, name) if self._is_written else _ABSENT

    def _put(self, name: bytes, node: Node | None, layer: int) -> None:
        self._table.make_room()
        if self._recent is _NOTHING:
            self._recent = {}
            self._table.note(self)
        self._recent[name] = node, layer
