# SPDX-License-Identifier: Apache-2.0
"""What a conversion needs for each entry of an image: people have images with hundreds of thousands
of them, and login nodes on which memory is counted."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from needs import SCRATCH
from tar_layers import directory, file, read_layers

from cwl_udss.images.formats.directory import DirectorySink
from cwl_udss.images.formats.names import Compression, ImageFormat
from cwl_udss.images.formats.squashfs.writer import SquashfsSink
from cwl_udss.images.trees.contents import Sink
from cwl_udss.images.trees.merge import merge_layers

FEW, MANY = 5_000, 20_000
MOST_BYTES = 500


def layer(entries: int) -> Iterator[bytes]:
    """A layer like one of a conda environment: many small files with long names."""
    for number in range(entries):
        parent = f"opt/conda/lib/python3.11/site-packages/package{number // 20}"
        if number % 20 == 0:
            yield directory(parent)
        else:
            yield file(f"{parent}/module{number}.py", f"{number}", mtime=1_700_000_000 + number)
    yield bytes(1024)


def sink(kind: ImageFormat, scratch: Path) -> Sink:
    if kind is ImageFormat.DIRECTORY:
        return DirectorySink(scratch / "image", scratch / "contents")
    return SquashfsSink(scratch / "image", scratch / "contents", Compression.ZSTD)


def peak(kind: ImageFormat, entries: int) -> int:
    """The most bytes that are in use while a layer is converted."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        destination = sink(kind, Path(scratch))
        tracemalloc.start(1)
        with closing(destination):
            destination.finish(merge_layers(read_layers([layer(entries)], destination)))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


@pytest.mark.parametrize("kind", list(ImageFormat))
def test_memory_for_an_entry(kind: ImageFormat) -> None:
    assert (peak(kind, MANY) - peak(kind, FEW)) / (MANY - FEW) < MOST_BYTES
