# SPDX-License-Identifier: Apache-2.0
"""What a conversion needs for each entry of an image: people have images with a million of them,
and login nodes on which memory is counted."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from needs import SCRATCH
from tar_layers import directory, file, hardlink, read_layers, symlink

from cwl_udss.images.formats.directory import DirectorySink
from cwl_udss.images.formats.names import Compression, ImageFormat
from cwl_udss.images.formats.squashfs.writer import SquashfsSink
from cwl_udss.images.trees.contents import Sink
from cwl_udss.images.trees.merge import merge_layers
from cwl_udss.images.trees.rows import sqlite3
from cwl_udss.images.trees.table import EntryTable

FEW, MANY = 2_000, 8_000
MOST_BYTES = 120

needs_a_database = pytest.mark.skipif(sqlite3 is None, reason="this Python has no SQLite")

Layer = Callable[[int], Iterator[bytes]]


def packages(entries: int) -> Iterator[bytes]:
    """A layer like one of a conda environment: many small files with long names."""
    for number in range(entries):
        parent = f"opt/conda/lib/python3.11/site-packages/package{number // 20}"
        if number % 20 == 0:
            yield directory(parent)
        else:
            yield file(f"{parent}/module{number}.py", f"{number}", mtime=1_700_000_000 + number)
    yield bytes(1024)


def heap(entries: int) -> Iterator[bytes]:
    """All in one directory, and in no order, as a cache or a data set may be."""
    for number in range(entries):
        yield file(f"data/{number * 7919 % entries:x}.dat", f"{number}")
    yield bytes(1024)


def links(entries: int) -> Iterator[bytes]:
    """Symbolic ones."""
    for number in range(entries):
        yield symlink(f"lib/lib{number}.so", f"lib{number}.so.1")
    yield bytes(1024)


def names(entries: int) -> Iterator[bytes]:
    """All of one file."""
    yield file("share/first", "content")
    for number in range(entries - 1):
        yield hardlink(f"share/name{number}", "share/first")
    yield bytes(1024)


LAYERS: list[Layer] = [packages, heap, links, names]


def sink(kind: ImageFormat, scratch: Path) -> Sink:
    if kind is ImageFormat.DIRECTORY:
        return DirectorySink(scratch / "image", scratch / "contents")
    return SquashfsSink(scratch / "image", scratch / "contents", Compression.ZSTD)


def convert(kind: ImageFormat, scratch: Path, layers: list[Iterator[bytes]], most: int) -> None:
    """Convert layers; `most` entries of the tree are in memory."""
    with (
        closing(sink(kind, scratch)) as destination,
        closing(EntryTable(scratch / "tree", most_in_memory=most)) as table,
    ):
        destination.finish(merge_layers(read_layers(layers, destination), table))


def peak(kind: ImageFormat, *layers: Iterator[bytes]) -> int:
    """The most bytes that are in use while layers are converted."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        tracemalloc.start(1)
        convert(kind, Path(scratch), list(layers), 500)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


@needs_a_database
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", list(ImageFormat))
def test_memory_for_an_entry(kind: ImageFormat, layer: Layer) -> None:
    growth = peak(kind, layer(MANY)) - peak(kind, layer(FEW))
    assert growth / (MANY - FEW) < MOST_BYTES


@needs_a_database
def test_memory_for_an_entry_that_a_layer_replaces_or_hides() -> None:
    def hidden(entries: int) -> Iterator[bytes]:
        yield file("data/.wh..wh..opq", "")
        yield from heap(entries)

    growth = [
        peak(ImageFormat.SQUASHFS, heap(count), heap(count), hidden(count)) for count in (FEW, MANY)
    ]
    assert (growth[1] - growth[0]) / (MANY - FEW) < 3 * MOST_BYTES


def steps(kind: ImageFormat, layer: Iterator[bytes]) -> int:
    """How many functions are called, in any thread."""
    count = 0

    def called(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        threading.setprofile(called)
        sys.setprofile(called)
        try:
            convert(kind, Path(scratch), [layer], 100)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return count


@pytest.mark.parametrize("layer", LAYERS)
def test_an_entry_takes_as_long_in_a_large_image(layer: Layer) -> None:
    few, many = (steps(ImageFormat.SQUASHFS, layer(count)) for count in (500, 2000))
    assert many < 4.4 * few


CONVERSION = """
import resource, sys
from pathlib import Path
from test_memory import ImageFormat, convert, heap, packages
layer = {"packages": packages, "heap": heap}[sys.argv[1]]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
convert(ImageFormat.SQUASHFS, Path(sys.argv[2]), [layer(int(sys.argv[3]))], 60_000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@needs_a_database
@pytest.mark.parametrize("layer", ["packages", "heap"])
def test_memory_of_an_image_of_300_000_entries(layer: str, tmp_path: Path) -> None:
    """With what no tracing of Python's own memory sees: SQLite's, zstd's."""
    command = [sys.executable, "-c", CONVERSION, layer, tmp_path, "300000"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    assert int(done.stdout) < 70
