# SPDX-License-Identifier: Apache-2.0
"""The sink that writes a tree as one SquashFS 4.0 file, without any program of others.

Contents are written as their layers stream by, the tables at the end.
"""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

from isal import isal_zlib

from cwl_udss.errors import InvalidImage
from cwl_udss.images.contents import LayerContent, Written, by_layer
from cwl_udss.images.formats import Compression
from cwl_udss.images.squashfs_data import DataWriter
from cwl_udss.images.squashfs_format import (
    ABSENT_TABLE,
    SUPERBLOCK_BYTES,
    Superblock,
    attribute_table_header,
    fragment_entry,
    metadata_block,
)
from cwl_udss.images.squashfs_tables import (
    AttributeTable,
    Compress,
    Metadata,
    TreeTables,
    number_inodes,
)
from cwl_udss.images.tree import RegularFile, Tree

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_BLOCK_LOG = 17
_PADDING = 4096  # mksquashfs does so, as a block device may have blocks of this size
_BUFFER_BYTES = 1 << 20  # shared file systems like large writes
_MOST_THREADS = 4  # the thread that reads cannot keep more of them busy
# A file's list of blocks is as long for holes as for data: no honest image has so many.
_LARGEST_TREE = 1 << 40
_LEVEL = 1


class _Zstd(threading.local):
    """A compressor for each thread: making one takes as long as compressing some kilobytes."""

    def __init__(self) -> None:
        self._compressor = zstd.ZstdCompressor(level=_LEVEL)

    def __call__(self, block: bytes) -> bytes:
        # The whole block at once, so that no window can be larger than it: the kernel's limit.
        compressed: bytes = self._compressor.compress(block, zstd.ZstdCompressor.FLUSH_FRAME)
        return compressed


# Number in the superblock, function, options (only needed as the level is not the default).
_COMPRESSIONS: dict[Compression, tuple[int, Compress, bytes]] = {
    Compression.ZSTD: (6, _Zstd(), struct.pack("<I", _LEVEL)),
    Compression.GZIP: (
        1,
        partial(isal_zlib.compress, level=_LEVEL),
        struct.pack("<I2H", _LEVEL, 15, 0),  # window bits, no strategies
    ),
}


def write_squashfs(
    tree: Tree,
    read_layer: Callable[[int], Iterable[bytes]],
    destination: Path,
    compression: Compression,
    *,
    threads: int | None = None,
) -> Written:
    """Write a tree to the file `destination`, which is made; to sync it is the caller's affair.

    All is owned by user and group 0. Everybody may read and execute what the owner may, as the
    user who mounts it is another: squashfuse_ll does not ask for the modes to be checked (it
    mounts without default_permissions), but the kernel's own mounts and overlays do check them.
    Times are whole seconds from 1970 to 2106. The bytes depend on tree and compression only, not
    on the number of threads; but other versions of the compressors may give others, and isal's
    gzip on another processor.

    `read_layer` gives a layer's compressed bytes. Raises InvalidImage if a layer is shorter than
    its index says, or the tree is larger than any image, and OSError; it leaves the file then.
    """
    threads = threads or min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    with (
        destination.open("xb", buffering=_BUFFER_BYTES) as stream,
        ThreadPoolExecutor(threads, thread_name_prefix="squashfs") as pool,
    ):
        writer = _Writer(stream, compression)
        entries = writer.write(tree, read_layer, pool, threads)
        size = stream.seek(0, os.SEEK_END)
    return Written(entries=entries, bytes=size, digest=_digest(destination))


class _Writer:
    """Writes an image from the beginning of a stream, and the superblock at last."""

    def __init__(self, stream: BinaryIO, compression: Compression) -> None:
        self._stream = stream
        self._compressor, self._compress, self._options = _COMPRESSIONS[compression]

    def write(
        self,
        tree: Tree,
        read_layer: Callable[[int], Iterable[bytes]],
        pool: ThreadPoolExecutor,
        threads: int,
    ) -> int:
        """Data, then the tables in mksquashfs' order, which the kernel checks. Returns the number
        of the tree's names."""
        numbering = number_inodes(tree)
        files = [node for node in numbering.numbers if isinstance(node, RegularFile)]
        if sum(file.size for file in files) > _LARGEST_TREE:
            raise InvalidImage("an image has files larger than any disk", "it may be meant to harm")
        self._stream.write(bytes(SUPERBLOCK_BYTES) + metadata_block(self._options, self._options))
        writer = DataWriter(
            self._stream, self._compress, pool, threads=threads, block_bytes=1 << _BLOCK_LOG
        )
        for layer, members in by_layer(files).items():
            content = LayerContent(read_layer, layer)
            for file in members:
                writer.add(file, content)
        data = writer.finish()
        tables = TreeTables(numbering, data, self._compress)
        fragments = [fragment_entry(start, size) for start, size in data.fragments()]
        inode_table = self._append(tables.inodes.finish())
        directory_table = self._append(tables.directories.finish())
        fragment_table = self._append_indexed(fragments)
        id_table = self._append_indexed([struct.pack("<I", 0)])
        attribute_table = self._append_attributes(tables.attributes)
        superblock = Superblock(
            inodes=len(numbering.numbers),
            block_log=_BLOCK_LOG,
            fragments=len(fragments),
            compressor=self._compressor,
            root=tables.root,
            bytes_used=self._stream.tell(),
            id_table=id_table,
            attribute_table=attribute_table,
            inode_table=inode_table,
            directory_table=directory_table,
            fragment_table=fragment_table,
        )
        self._stream.write(bytes(-self._stream.tell() % _PADDING))
        self._stream.seek(0)
        self._stream.write(superblock.pack())
        return sum(len(directory.entries) for directory in numbering.directories)

    def _append(self, table: bytes) -> int:
        """Write a table. Returns where it begins."""
        start = self._stream.tell()
        self._stream.write(table)
        return start

    def _append_indexed(self, records: list[bytes]) -> int:
        """Write a table that is found through the positions of its blocks, which come after it.
        Returns where these begin."""
        table = Metadata(self._compress)
        for record in records:
            table.add(record)
        start = self._append(table.finish())
        return self._append(table.block_positions(start))

    def _append_attributes(self, table: AttributeTable) -> int:
        """Write the extended attributes. Returns where their header is, or that there are none."""
        if not len(table):
            return ABSENT_TABLE
        pairs = self._append(table.pairs.finish())
        entries = self._append(table.entries.finish())
        header = attribute_table_header(pairs, len(table))
        return self._append(header + table.entries.block_positions(entries))


def _digest(path: Path) -> str:
    """The digest of a file. The superblock, which is written last, is its beginning: it has to be
    read again, from memory as a rule."""
    checksum = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        while chunk := stream.read(_BUFFER_BYTES):
            checksum.update(chunk)
    return f"sha256:{checksum.hexdigest()}"
