# SPDX-License-Identifier: Apache-2.0
"""Layers in, files out, in both formats that a store has."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from squashfs_readers import unsquashfs
from tar_layers import convert, in_chunks, read_layers

from cwl_udss.images.formats.names import Compression
from cwl_udss.images.formats.squashfs.writer import SquashfsSink
from cwl_udss.images.trees.merge import merge_layers
from cwl_udss.images.trees.table import EntryTable


def as_directory(layers: Sequence[bytes], scratch: Path) -> Path:
    """The directory made of layers."""
    return convert(scratch, *layers).root


def as_squashfs(
    layers: Sequence[bytes], scratch: Path, compression: Compression = Compression.ZSTD
) -> Path:
    """What squashfs-tools find in the SquashFS image made of layers."""
    with tempfile.TemporaryDirectory(dir=scratch) as work:  # as a store has it
        image = Path(work, "image")
        with (
            closing(SquashfsSink(image, Path(work, "contents"), compression)) as sink,
            closing(EntryTable(Path(work, "tree"), most_in_memory=1)) as table,
        ):
            sink.finish(merge_layers(read_layers(map(in_chunks, layers), sink), table))
        with unsquashfs(image, scratch) as root:
            return root


FORMATS = (as_directory, as_squashfs)
