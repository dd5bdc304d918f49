# SPDX-License-Identifier: Apache-2.0
"""Random stacks of layers, sane and odd, for hypothesis."""

from __future__ import annotations

import itertools
import posixpath
import tarfile
from typing import Any, NamedTuple

from hypothesis import strategies as st
from tar_layers import Entry, entry, tar

LATEST_TIME = 1_000_000_000
SPECIAL_TIME = 666
"""The time of special files, and of nothing else."""
TYPES = {
    "file": tarfile.REGTYPE,
    "sparse file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "old directory": tarfile.AREGTYPE,
    "symbolic link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "pipe": tarfile.FIFOTYPE,
    "device": tarfile.CHRTYPE,
}
_FORMATS = {
    "ustar": tarfile.USTAR_FORMAT,
    "gnu": tarfile.GNU_FORMAT,
    "pax": tarfile.PAX_FORMAT,
}
_HOLE_BYTES = 700


class Item(NamedTuple):
    """An entry of a layer, as it is shown when a test fails."""

    kind: str
    name: str
    what: str = ""
    """A file's content, or a link's target."""
    mode: int = 0o644
    mtime: float = 0
    format: str = "gnu"
    note: str = ""
    """The value of an extended attribute."""

    @property
    def packed(self) -> Entry:
        is_file = self.kind.endswith("file")
        content, link = (self.what.encode(), "") if is_file else (b"", self.what)
        name, headers = self.name, {}
        if self.note:
            headers["SCHILY.xattr.user.note"] = self.note
        if self.kind == "sparse file":
            size = _HOLE_BYTES + len(content) + _HOLE_BYTES
            headers["GNU.sparse.major"] = "0"
            headers["GNU.sparse.minor"] = "1"
            headers["GNU.sparse.name"] = name
            name = "GNUSparseFile.0"
            headers["GNU.sparse.size"] = str(size)
            headers["GNU.sparse.numblocks"] = "2"
            headers["GNU.sparse.map"] = f"{_HOLE_BYTES},{len(content)},{size},0"
        is_too_long = self.format == "ustar" and (len(name) > 200 or len(link) > 90)
        return entry(
            name,
            TYPES[self.kind],
            content,
            linkname=link,
            mode=self.mode,
            mtime=self.mtime,
            format=_FORMATS["pax" if headers or is_too_long else self.format],
            pax_headers=headers,
        )


Layer = list[Item]


def packed(layer: Layer) -> bytes:
    """The layer as a tar."""
    return tar(*(item.packed for item in layer))


_DIRECTORIES = ("directory", "old directory")
_FILES = ("file", "sparse file", "hard link", "pipe", "device")
_KINDS = [*TYPES, *TYPES, "file", "directory", *["whiteout"] * 4, "opaque directory"]
_NAMES = st.sampled_from([*"abcabcabcabc", "n" * 60, "\udcff", "ä", "a\nb", "-rf", ".wh", "a.wh.b"])
_WRITTEN = st.sampled_from(["{}", "{}", "{}", "./{}", "/{}", "x/../{}", ".//{}"])
_LINKS = st.sampled_from(["..", ".", "/", "nowhere", "../..", "a/..", "nowhere/../a"])
_FIELDS = st.fixed_dictionaries(
    {
        "mode": st.sampled_from([0o644, 0o755, 0o000, 0o400, 0o500, 0o666, 0o1777, 0o2755, 0o4755]),
        "mtime": st.sampled_from([0, 1, 1000, 2000.5, LATEST_TIME]),
        "format": st.sampled_from(list(_FORMATS)),
    }
)


class _Making:
    """Layers in the making. It remembers roughly what there is, so that most entries are about
    that, and few of them are refused."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._known: dict[str, str] = {}
        self._number = 0

    def item(self, kind: str) -> Item:
        fields = self._draw(_FIELDS)
        if kind == "opaque directory":
            name = self._one_of(*_DIRECTORIES, "symbolic link") or self._name()
            return Item("file", f"{self._written(name)}/.wh..wh..opq", **fields)
        again = self._one_of(*_DIRECTORIES) if kind in (*_DIRECTORIES, "whiteout") else None
        name = again if again and self._draw(st.booleans()) else self._name()
        if kind == "whiteout":
            self._forget(name)
            head, slash, tail = self._written(name).rpartition("/")
            return Item("file", f"{head}{slash}.wh.{tail}", **fields)
        if kind in _DIRECTORIES:
            self._add(name, kind)
            written = self._written(self._draw(st.sampled_from([name, name, name, "."])))
            return Item(kind, f"{written}/", **fields)
        return self._no_directory(kind, name, fields)

    def _no_directory(self, kind: str, name: str, fields: dict[str, Any]) -> Item:
        target = self._one_of(*_FILES)
        self._forget(name)
        if kind == "hard link" and target not in self._known:
            kind = "file"  # umoci would remove the target first, then not find it
        self._add(name, kind)
        if kind == "hard link":
            return Item(kind, self._written(name), self._written(str(target)), **fields)
        if kind == "symbolic link":
            return Item(kind, self._written(name), self._link(), **fields)
        if kind in ("pipe", "device"):
            return Item(kind, self._written(name), **{**fields, "mtime": SPECIAL_TIME})
        self._number += 1
        content = f"content {self._number}" * self._draw(st.sampled_from([1, 1, 100]))
        note = self._draw(st.sampled_from(["", "", "a note"]))
        if not fields["mode"] & 0o200:
            note = ""  # only root could write it
        return Item(kind, self._written(name), content, **fields, note=note)

    def _name(self) -> str:
        if self._known and self._draw(st.booleans()):
            return self._draw(st.sampled_from(sorted(self._known)))
        parent = self._one_of(*_DIRECTORIES, "symbolic link")
        names = self._draw(st.lists(_NAMES, min_size=1, max_size=2))
        if parent and self._draw(st.booleans()):
            names = [parent, *names]
        *parents, name = itertools.accumulate(names, posixpath.join)
        files = [path for path in parents if self._known.get(path) in _FILES]
        return files[0] if files else name  # umoci refuses to replace a file that is a parent

    def _written(self, name: str) -> str:
        return self._draw(_WRITTEN).format(name)

    def _link(self) -> str:
        known = self._one_of(*_DIRECTORIES)
        above = self._draw(st.sampled_from(["", "", "/", "../"]))
        return above + (known if known and self._draw(st.booleans()) else self._draw(_LINKS))

    def _one_of(self, *kinds: str) -> str | None:
        known = sorted(name for name, kind in self._known.items() if kind in kinds)
        return self._draw(st.sampled_from(known)) if known else None

    def _add(self, name: str, kind: str) -> None:
        *parents, _ = itertools.accumulate(name.split("/"), posixpath.join)
        for parent in parents:
            self._known.setdefault(parent, "directory")
        self._known[name] = kind

    def _forget(self, name: str) -> None:
        for known in list(self._known):
            if f"{known}/".startswith(f"{name}/"):
                del self._known[known]


@st.composite
def stacks(draw: st.DrawFn, kinds: list[str] = _KINDS, most: int = 4) -> list[Layer]:
    """Up to `most` layers, the oldest first."""
    making = _Making(draw)
    layer = st.lists(st.sampled_from(kinds), max_size=10)
    chosen = draw(st.lists(layer, min_size=1, max_size=most))
    return [[making.item(kind) for kind in kinds] for kinds in chosen]
