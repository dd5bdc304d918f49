# SPDX-License-Identifier: Apache-2.0
"""The sink that writes a tree as one SquashFS 4.0 file, without any program of others.

Contents are compressed as they come, the tables come at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from isal import isal_zlib

from cwl_udss.errors import InvalidImage
from cwl_udss.images.formats.names import Compression
from cwl_udss.images.formats.squashfs.data import DataWriter
from cwl_udss.images.formats.squashfs.format import (
    LARGEST_TREE,
    SUPERBLOCK_BYTES,
    Superblock,
    fragment_entry,
    metadata_block,
)
from cwl_udss.images.formats.squashfs.metadata import Compress, Metadata
from cwl_udss.images.formats.squashfs.selection import Selection, TakenLayer
from cwl_udss.images.formats.squashfs.tables import (
    Numbering,
    TreeTables,
    number_inodes,
)
from cwl_udss.images.trees.contents import Content, Written
from cwl_udss.images.trees.listing import file_digest
from cwl_udss.images.trees.tree import RegularFile, Tree

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_BLOCK_LOG = 17
_BLOCK_BYTES = 1 << _BLOCK_LOG
_PADDING = 4096  # mksquashfs does so, as a block device may have blocks of this size
_BUFFER_BYTES = 1 << 20  # shared file systems like large writes
_MOST_THREADS = 4  # the thread that reads cannot keep more of them busy
_LEVEL = 1


class _Zstd(threading.local):
    """A compressor for each thread: making one takes as long as compressing some kilobytes."""

    def __init__(self) -> None:
        self._compressor = zstd.ZstdCompressor(level=_LEVEL)

    def __call__(self, block: bytes) -> bytes:
        # The whole block at once, so that no window can be larger than it: the kernel's limit.
        compressed: bytes = self._compressor.compress(block, zstd.ZstdCompressor.FLUSH_FRAME)
        return compressed


@dataclass(frozen=True, kw_only=True)
class _Codec:
    """What makes a block small, and what undoes that."""

    number: int
    """In the superblock."""
    compress: Compress
    decompress: Compress
    options: bytes
    """Only needed as the level is not the default."""


_CODECS = {
    Compression.ZSTD: _Codec(
        number=6,
        compress=_Zstd(),
        decompress=zstd.decompress,
        options=struct.pack("<I", _LEVEL),
    ),
    Compression.GZIP: _Codec(
        number=1,
        compress=partial(isal_zlib.compress, level=_LEVEL),
        decompress=isal_zlib.decompress,
        options=struct.pack("<I2H", _LEVEL, 15, 0),  # window bits, no strategies
    ),
}


class SquashfsSink:
    """Writes a tree as the file `destination`, which is made; to sync it is the caller's affair.

    Everybody may read the file. All in it is owned by user and group 0, and everybody may read and
    execute what the owner may, as the user who mounts it is another: squashfuse_ll does not ask for
    the modes to be checked (it mounts without default_permissions), but the kernel's own mounts and
    overlays do check them.
    Times are whole seconds from 1970 to 2106. The bytes depend on layers and compression only, not
    on the number of threads; but other versions of the compressors may give others, and isal's
    gzip on another processor.

    There is a file of compressed contents for each layer. The largest of those that the image has
    all of becomes the image, and the others' blocks are copied to it.
    """

    def __init__(
        self,
        destination: Path,
        spool: Path,
        compression: Compression,
        *,
        threads: int | None = None,
    ) -> None:
        """`spool` is made, too: a directory for such files, on the same filesystem; the caller is
        to remove it. Raises OSError."""
        destination.touch(exist_ok=False)
        spool.mkdir(mode=0o700)
        self._destination = destination
        self._spool = spool
        self._codec = _CODECS[compression]
        self._threads = threads or min(len(os.sched_getaffinity(0)), _MOST_THREADS)
        self._opened = contextlib.ExitStack()
        self._pool = self._opened.enter_context(
            ThreadPoolExecutor(self._threads, thread_name_prefix="squashfs")
        )
        self._lock = threading.Lock()
        self._size = 0
        self._layers: dict[int, tuple[BinaryIO, DataWriter]] = {}

    def add(self, file: RegularFile, content: Content) -> None:
        """See Sink. Raises InvalidImage, too, if the files are larger than any image's."""
        if not file.size:
            return
        with self._lock:
            self._size += file.size
            if self._size > LARGEST_TREE:
                raise InvalidImage(
                    "an image has files larger than any disk", "it may be meant to harm"
                )
            if file.layer not in self._layers:
                stream = self._open(self._spool / str(file.layer))
                self._layers[file.layer] = stream, self._data_writer(stream)
            _, writer = self._layers[file.layer]
        writer.add(file, content)

    def finish(self, tree: Tree) -> Written:
        """See Sink."""
        taken = {
            number: TakenLayer(number=number, stream=stream, stored=writer.finish())
            for number, (stream, writer) in sorted(self._layers.items())
        }
        self._layers.clear()
        numbering = number_inodes(tree, lambda file: taken[file.layer].want(file.offset))
        stream, data = self._write_contents(list(taken.values()))
        stream.flush()
        # Only a help for whoever syncs the whole file: most of it is on its way then.
        syncing = self._pool.submit(os.fdatasync, stream.fileno())
        with (self._spool / "directories").open("x+b", buffering=_BUFFER_BYTES) as spool:
            _TableWriter(stream, self._codec).write(numbering, data, spool)
        size = stream.seek(0, os.SEEK_END)
        stream.flush()
        # The superblock, which is written last, is the beginning: all has to be read again.
        digest = file_digest(self._destination)
        syncing.result()
        return Written(entries=numbering.names, bytes=size, digest=digest)

    def close(self) -> None:
        """See Sink."""
        self._opened.close()

    def _write_contents(self, layers: list[TakenLayer]) -> tuple[BinaryIO, Selection]:
        """Begin the image with its contents. Returns its stream, and where they are in it."""
        # The largest first of those that the image can begin with: the fewer bytes are copied.
        layers.sort(key=lambda layer: layer.stream.tell() if layer.is_whole else 0, reverse=True)
        if layers and layers[0].is_whole:
            stream = layers[0].stream
        else:
            stream = self._open(self._spool / "image")
        os.fchmod(stream.fileno(), 0o644)
        os.rename(stream.name, self._destination)
        selection = Selection(stream, _BLOCK_BYTES)
        for layer in layers:
            selection.add(layer)
        selection.make_anew(layers, self._data_writer(stream), self._codec.decompress)
        return stream, selection

    def _open(self, path: Path) -> BinaryIO:
        """A new image without contents."""
        stream = self._opened.enter_context(path.open("x+b", buffering=_BUFFER_BYTES))
        options = self._codec.options
        stream.write(bytes(SUPERBLOCK_BYTES) + metadata_block(options, options))
        return stream

    def _data_writer(self, stream: BinaryIO) -> DataWriter:
        return DataWriter(
            stream,
            self._codec.compress,
            self._pool,
            threads=self._threads,
            block_bytes=_BLOCK_BYTES,
        )


class _TableWriter:
    """Writes the tables of an image after its contents, and the superblock at last."""

    def __init__(self, stream: BinaryIO, codec: _Codec) -> None:
        self._stream = stream
        self._codec = codec

    def write(self, numbering: Numbering, data: Selection, spool: BinaryIO) -> None:
        """The tables are in mksquashfs' order, which the kernel checks; `spool` is an empty file
        for what is made before its place is known."""
        fragments = [fragment_entry(start, size) for start, size in data.fragments]
        inode_table = self._stream.tell()
        tables = TreeTables(numbering, data.blocks, self._codec.compress, self._stream, spool)
        directory_table = self._stream.tell()
        spool.seek(0)
        shutil.copyfileobj(spool, self._stream, _BUFFER_BYTES)
        fragment_table = self._append_indexed(fragments)
        id_table = self._append_indexed([struct.pack("<I", 0)])
        attribute_table = tables.attributes.write(self._stream)
        superblock = Superblock(
            inodes=numbering.inodes,
            block_log=_BLOCK_LOG,
            fragments=len(fragments),
            compressor=self._codec.number,
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

    def _append_indexed(self, records: list[bytes]) -> int:
        """Write a table that is found through the positions of its blocks, which come after it.
        Returns where these begin."""
        start = self._stream.tell()
        table = Metadata(self._codec.compress, self._stream)
        for record in records:
            table.add(record)
        table.finish()
        positions = self._stream.tell()
        self._stream.write(table.block_positions(start))
        return positions
