# SPDX-License-Identifier: Apache-2.0
"""Makes layers entry by entry, odd ones too, and converts them, for the tests of conversion."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwl_udss.images.formats.directory import DirectorySink
from cwl_udss.images.layers.members import LayerIndex, Member
from cwl_udss.images.layers.tar import index_layer
from cwl_udss.images.trees.contents import Sink
from cwl_udss.images.trees.merge import merge_layers, regular_file
from cwl_udss.images.trees.table import EntryTable

Entry = bytes


def entry(name: str, kind: bytes, content: bytes = b"", **fields: Any) -> Entry:
    """A header and its content."""
    member = tarfile.TarInfo(name)
    member.type = kind
    member.size = len(content)
    member.mode = fields.pop("mode", 0o755 if kind == tarfile.DIRTYPE else 0o644)
    tar_format = fields.pop("format", tarfile.GNU_FORMAT)
    for key, value in fields.items():
        setattr(member, key, value)
    padding = bytes(-len(content) % 512)
    return member.tobuf(tar_format, "utf-8", "surrogateescape") + content + padding


def file(name: str, content: str = "x", **fields: Any) -> Entry:
    return entry(name, tarfile.REGTYPE, content.encode(), **fields)


def directory(name: str, **fields: Any) -> Entry:
    return entry(name, tarfile.DIRTYPE, **fields)


def symlink(name: str, target: str, **fields: Any) -> Entry:
    return entry(name, tarfile.SYMTYPE, linkname=target, **fields)


def hardlink(name: str, target: str, **fields: Any) -> Entry:
    return entry(name, tarfile.LNKTYPE, linkname=target, **fields)


def tar(*entries: Entry, end: bytes = bytes(1024)) -> bytes:
    return b"".join(entries) + end


def gzipped(*entries: Entry) -> bytes:
    return gzip.compress(tar(*entries), mtime=0)


@dataclass(frozen=True)
class Converted:
    names: frozenset[str]
    """Those in the tree."""
    root: Path

    @property
    def found(self) -> dict[str, str]:
        """What is there: "dir", the content of a file, or "-> target"; by path."""
        return describe(self.root)


def describe(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            found[name] = f"-> {os.readlink(path)}"
        elif stat.S_ISDIR(mode):
            found[name] = "dir"
        else:
            found[name] = path.read_text(errors="surrogateescape")
    return found


def convert(destination: Path, *layers: bytes) -> Converted:
    """Convert layers (compressed or not) into a directory."""
    root = destination / "rootfs"
    with (
        tempfile.TemporaryDirectory(dir=destination) as spool,
        closing(DirectorySink(root, Path(spool, "contents"))) as sink,
        closing(EntryTable(Path(spool, "tree"), most_in_memory=3)) as table,
    ):
        tree = merge_layers(read_layers(map(in_chunks, layers), sink), table)
        sink.finish(tree)
        return Converted(frozenset(os.fsdecode(path) for path, _ in tree.walk()), root)


def read_layers(layers: Iterable[Iterable[bytes]], sink: Sink) -> list[LayerIndex]:
    """Read layers, one after the other, and give their contents to a sink."""
    return [read_layer(number, chunks, sink) for number, chunks in enumerate(layers)]


def read_layer(number: int, chunks: Iterable[bytes], sink: Sink) -> LayerIndex:
    def take(member: Member, content: Iterable[memoryview]) -> None:
        sink.add(regular_file(member, number), content)

    return index_layer(chunks, number=number, take=take)


def in_chunks(data: bytes, size: int = 1000) -> Sequence[bytes]:
    """The bytes as a network gives them: in pieces that have nothing to do with the content."""
    stream = io.BytesIO(data)
    return list(iter(lambda: stream.read(size), b""))
