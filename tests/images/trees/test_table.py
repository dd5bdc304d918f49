# SPDX-License-Identifier: Apache-2.0
"""Entries that are kept in a file: they are those that were put, wherever they are now."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwl_udss.images.layers.members import Extent
from cwl_udss.images.trees import table as table_module
from cwl_udss.images.trees.rows import Rows, sqlite3
from cwl_udss.images.trees.table import EntryTable, TableEntries
from cwl_udss.images.trees.tree import Directory, Node, RegularFile, SymbolicLink

pytestmark = pytest.mark.skipif(sqlite3 is None, reason="this Python has no SQLite")

NODES = st.one_of(
    st.builds(
        RegularFile,
        mode=st.integers(0, 0o777),
        mtime=st.one_of(st.integers(-(1 << 90), 1 << 90), st.floats(allow_nan=False)),
        size=st.integers(0, 1 << 70),
        layer=st.integers(0, 100),
        offset=st.integers(0, 1 << 70),
        extents=st.none() | st.lists(st.builds(Extent, st.integers(0), st.integers(0))).map(tuple),
        attributes=st.dictionaries(st.sampled_from(["user.a", "user.\udcff"]), st.binary()),
    ),
    st.builds(SymbolicLink, target=st.binary(), mtime=st.floats(allow_nan=False)),
)


def facts(node: Node) -> tuple[object, ...]:
    return tuple(getattr(node, name) for name in type(node).__slots__)


@given(st.dictionaries(st.binary(min_size=1), NODES, max_size=20), st.integers(1, 5))
def test_what_was_put_is_found_again(
    tmp_path_factory: pytest.TempPathFactory, nodes: dict[bytes, Node], most: int
) -> None:
    path = tmp_path_factory.mktemp("table") / "a ?#%"
    with closing(EntryTable(path, most_in_memory=most)) as table:
        entries = table.directory().entries
        for name, node in nodes.items():
            entries[name] = node
        found = {name: facts(node) for name, node in entries.items()}
        assert found == {name: facts(node) for name, node in nodes.items()}
        assert list(found) == sorted(nodes)
        for name in nodes:
            del entries[name]
            assert name not in entries
        assert not entries
    assert path.exists() == (len(nodes) > most)


def of(table: EntryTable) -> TableEntries:
    entries = table.directory().entries
    assert isinstance(entries, TableEntries)
    return entries


def test_a_directory_and_what_has_several_names_are_the_same_object(tmp_path: Path) -> None:
    with closing(EntryTable(tmp_path / "table", most_in_memory=1)) as table:
        entries, inner = of(table), table.directory()
        entries[b"a"] = SymbolicLink(b"x", 0)
        entries[b"d"] = inner
        entries[b"e"] = SymbolicLink(b"y", 0)
        linked = entries.link(b"a")
        assert linked is not None
        entries[b"b"] = linked
        entries[b"c"] = SymbolicLink(b"z", 0)
        assert entries[b"a"] is entries[b"b"] is linked
        assert entries[b"d"] is inner
        assert entries[b"e"] is not entries[b"e"]
        assert table.linked == {linked}


def test_what_a_layer_put_itself_is_told_from_what_was_there(tmp_path: Path) -> None:
    with closing(EntryTable(tmp_path / "table", most_in_memory=2)) as table:
        entries = of(table)
        for name in (b"a", b"b", b"c"):
            entries[name] = SymbolicLink(b"x", 0)
        entries[b"d"] = table.directory()
        table.layer += 1
        entries[b"b"] = SymbolicLink(b"y", 0)
        entries.link(b"a")  # which leaves it as old as it is
        assert [entries.is_new(name) for name in (b"a", b"b", b"c")] == [False, True, False]
        entries.discard_older()
        assert list(entries) == [b"b", b"d"]
        assert [name for name, _ in entries.directories()] == [b"d"]


def test_an_image_of_usual_size_needs_no_database(tmp_path: Path) -> None:
    link = SymbolicLink(b"x", 0)
    path = tmp_path / "table"
    with closing(EntryTable(path)) as table:
        entries = of(table)
        for number in range(60_000):
            entries[b"%d" % number] = link
        assert not path.exists()
        entries[b"more"] = link
        assert path.exists()
        assert len(entries) == 60_001


def test_without_sqlite_all_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "sqlite3", None)
    with closing(EntryTable(tmp_path / "table", most_in_memory=1)) as table:
        entries = of(table)
        for number in range(10):
            entries[b"%d" % number] = Directory()
        assert len(entries) == 10
    assert not any(tmp_path.iterdir())


def test_what_the_disk_refuses_is_said_as_of_other_files(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "table"
    with pytest.raises(OSError, match="unable to open") as caught:
        Rows(path)
    assert caught.value.filename == str(path)
