# SPDX-License-Identifier: Apache-2.0
"""Layers in, files out, in both formats that a store has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from layers import convert, in_chunks
from squashfs_readers import unsquashfs

from cwl_udss.images.archive import index_layer
from cwl_udss.images.merge import merge_layers
from cwl_udss.images.squashfs import Compression, write_squashfs


def as_directory(layers: Sequence[bytes], scratch: Path) -> Path:
    """The directory made of layers."""
    return convert(scratch, *layers).root


def as_squashfs(
    layers: Sequence[bytes], scratch: Path, compression: Compression = Compression.ZSTD
) -> Path:
    """What squashfs-tools find in the SquashFS image made of layers."""
    tree = merge_layers([index_layer(in_chunks(layer)) for layer in layers])
    image = scratch / "image"
    write_squashfs(tree, lambda number: in_chunks(layers[number]), image, compression)
    with unsquashfs(image, scratch) as root:
        return root


FORMATS = (as_directory, as_squashfs)
