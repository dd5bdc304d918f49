# SPDX-License-Identifier: Apache-2.0
"""Makes an image of the store out of layers, wherever these come from."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cwl_udss.errors import DamagedImage, ImageError, InvalidImage
from cwl_udss.filesystems.leases import turn
from cwl_udss.images.formats.directory import DirectorySink
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.formats.squashfs.writer import SquashfsSink
from cwl_udss.images.layers.members import LayerIndex, Member
from cwl_udss.images.layers.tar import index_layer
from cwl_udss.images.manifests.manifest import Descriptor
from cwl_udss.images.progress import pull_progress
from cwl_udss.images.sources.source import Source
from cwl_udss.images.store.image import ROOT_NAMES, StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.images.trees.contents import Sink
from cwl_udss.images.trees.listing import file_digest
from cwl_udss.images.trees.merge import ensure_mount_points, merge_layers, regular_file
from cwl_udss.images.trees.table import EntryTable
from cwl_udss.images.trees.tree import Tree
from cwl_udss.machine.waiting import told

_logger = logging.getLogger(__name__)

# As Docker and containers/image do: enough to hide latency, polite to registries.
LAYERS_AT_ONCE = 3
_CHUNK_BYTES = 1 << 18


def convert_in_turn(source: Source, store: Store) -> StoredImage:
    """Return the image made of a source, converted if need be.

    Raises ImageError or StoreError, with nothing half-made left behind.
    """
    return make_in_turn(source.digest, store, lambda: convert(source, store), source.name)


def make_in_turn(digest: str, store: Store, make: Callable[[], None], name: str) -> StoredImage:
    """Return the image with a digest, which `make` puts into the store; if another process makes
    it now, wait for that. Raises what `make` raises, and ImageError."""

    def found() -> StoredImage | None:
        store.refresh()
        return store.find_digest(digest)

    with turn(store.lease(digest), lambda: found() is not None, f"make the image {name}"):
        if found() is None:
            make()
        image = found()
    if image is None:
        raise ImageError(f"{name} was removed as soon as it was there", "try again")
    return image


def convert(source: Source, store: Store) -> None:
    """Read the layers into a sink, merge their headers, write the finished tree and publish it.

    Raises ImageError or StoreError, with nothing half-made left behind.
    """
    distinct = list({layer.digest: layer for layer in source.layers}.values())
    with store.work() as work, pull_progress(source.name, distinct, source.verb) as progress:
        made = work / "image"
        with (
            new_root(made, work / "contents", store) as sink,
            contextlib.closing(EntryTable(work / "tree")) as table,
            _explained(source),
        ):

            def chunks(layer: Descriptor) -> Iterator[bytes]:
                for chunk in _layer(source, layer, work, store):
                    progress.advance(layer, len(chunk))
                    yield chunk
                progress.finish(layer)

            def tar(layer: Descriptor) -> Iterator[bytes]:
                return _tar_of(layer, chunks(layer), work) if layer.is_squashfs else chunks(layer)

            # Members are many, and not needed any more when the image is written.
            tree = _merge(source, _read_layers(distinct, tar, sink), table)
            with told(f"until {source.name} is written"):
                written = sink.finish(tree)
        with told(f"until {source.name} is on the disk"):
            store.publish(made, source.digest, source.config_document, written)


@contextlib.contextmanager
def new_root(made: Path, spool: Path, store: Store) -> Iterator[Sink]:
    """What writes a root filesystem in the store's format into the directory `made`, which is made;
    with `spool` for what is not finished, in the same work directory."""
    made.mkdir()
    destination = made / ROOT_NAMES[store.format]
    sink: Sink
    if store.format is ImageFormat.DIRECTORY:
        sink = DirectorySink(destination, spool, for_group=store.is_group)
    else:
        sink = SquashfsSink(destination, spool, store.compression)
    with contextlib.closing(sink):
        yield sink


@contextlib.contextmanager
def _explained(source: Source) -> Iterator[None]:
    """Say of which image a layer is, and what to do about where it has come from."""
    try:
        yield
    except InvalidImage as error:
        problem = (
            error.problem if source.name in error.problem else f"{source.name}: {error.problem}"
        )
        advice = source.remedy if isinstance(error, DamagedImage) else error.advice
        raise InvalidImage(problem, advice) from error


def _read_layers(
    layers: Sequence[Descriptor], chunks: Callable[[Descriptor], Iterator[bytes]], sink: Sink
) -> dict[str, LayerIndex]:
    """Read layers side by side, each once, and give their contents to the sink. By digest."""
    stop = threading.Event()

    def read(number: int, layer: Descriptor) -> LayerIndex:
        def received() -> Iterator[bytes]:
            for chunk in chunks(layer):
                if stop.is_set():
                    raise InterruptedError
                yield chunk

        def take(member: Member, content: Iterator[memoryview]) -> None:
            sink.add(regular_file(member, number), content)

        data = received()
        try:
            return index_layer(data, number=number, take=take)
        except InvalidImage:
            for _ in data:  # if the whole is not what its digest says, that says more
                pass
            raise

    with ThreadPoolExecutor(LAYERS_AT_ONCE, thread_name_prefix="layer") as pool:
        futures = {
            layer.digest: pool.submit(read, number, layer) for number, layer in enumerate(layers)
        }
        try:
            return {digest: future.result() for digest, future in futures.items()}
        finally:  # after an error, and when the person has pressed Ctrl-C, the others end too
            stop.set()
            pool.shutdown(cancel_futures=True)


def _layer(source: Source, layer: Descriptor, work: Path, store: Store) -> Iterator[bytes]:
    """The bytes of a layer: one that was kept, else from the source; then to be kept."""
    kept = store.layer(layer.digest)
    if kept is not None and file_digest(kept) == layer.digest:
        yield from _chunks(kept)
    elif store.keeps_layers:
        path = work / layer.digest.partition(":")[2]
        with path.open("xb") as copy:
            for chunk in source.read(layer):
                copy.write(chunk)
                yield chunk
        store.keep_layer(path, layer.digest)
    else:
        yield from source.read(layer)


def _tar_of(layer: Descriptor, chunks: Iterator[bytes], work: Path) -> Iterator[bytes]:
    """The tar that a layer would be which is a SquashFS file. That is read out of order."""
    # Few images have one.
    from cwl_udss.images.formats.squashfs.layer import layer_as_tar  # noqa: PLC0415

    path = work / f"{layer.digest.partition(':')[2]}.squashfs"
    with path.open("xb") as copy:
        copy.writelines(chunks)
    try:
        yield from layer_as_tar(path, 0)
    except InvalidImage as error:
        problem = error.problem.replace(str(path), f"layer {layer.digest}")
        raise type(error)(problem, error.advice) from error
    finally:
        path.unlink()


def _merge(source: Source, read: Mapping[str, LayerIndex], table: EntryTable) -> Tree:
    """Merge layers, by digest, into the tree of an image, which `table` holds."""
    layers = [read[layer.digest] for layer in source.layers]
    # image-spec config.md, "diff_ids"
    found = tuple(layer.diff_id for layer in layers)
    if source.diff_ids is not None and found != source.diff_ids:
        raise InvalidImage(
            f"the layers of {source.name} are not those that its configuration names",
            source.remedy,
        )
    tree = merge_layers(layers, table)
    ensure_mount_points(tree, table)
    for note in tree.notes:
        _logger.info("%s: %s", source.name, note)
    return tree


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk
