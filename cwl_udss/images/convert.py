# SPDX-License-Identifier: Apache-2.0
"""Makes an image of the store out of layers, wherever these come from."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.errors import ImageError, InvalidImage
from cwl_udss.images.archive import LayerIndex, index_layer
from cwl_udss.images.contents import Written
from cwl_udss.images.directory import write_directory
from cwl_udss.images.formats import ImageFormat
from cwl_udss.images.manifest import Descriptor
from cwl_udss.images.merge import ensure_mount_points, merge_layers
from cwl_udss.images.progress import PullProgress, pull_progress
from cwl_udss.images.squashfs import write_squashfs
from cwl_udss.images.store import ROOT_NAMES, Store, StoredImage
from cwl_udss.images.tree import Tree
from cwl_udss.leases import turn

_logger = logging.getLogger(__name__)

# As Docker and containers/image do: enough to hide latency, polite to registries.
LAYERS_AT_ONCE = 3
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Source:
    """An image as it is found: layers to be read, and what it says of itself."""

    name: str
    """For messages."""
    digest: str
    """The name in the store: of the platform's manifest, or of the configuration."""
    layers: tuple[Descriptor, ...]
    """The oldest first."""
    diff_ids: tuple[str, ...]
    """Digests of the uncompressed layers, as the configuration has them."""
    config_document: bytes
    read: Callable[[Descriptor], Iterable[bytes]]
    """Gives a layer's bytes once, checked; called from several threads."""
    verb: str = "pull"
    """What is done, for the log."""


@dataclass(frozen=True, kw_only=True)
class _SavedLayer:
    """A layer on the disk, and what is in it."""

    path: Path
    index: LayerIndex


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

    with turn(store.lease(digest), lambda: found() is not None):
        if found() is None:
            make()
        image = found()
    if image is None:
        raise ImageError(f"{name} was removed as soon as it was there", "try again")
    return image


def convert(source: Source, store: Store) -> None:
    """Read the layers, merge their headers, write the finished tree and publish it.

    Raises ImageError or StoreError, with nothing half-made left behind.
    """
    distinct = list({layer.digest: layer for layer in source.layers}.values())
    with store.work() as work, pull_progress(source.name, distinct, source.verb) as progress:
        saved = _save_layers(source, distinct, work, store, progress)
        layers = [saved[layer.digest] for layer in source.layers]
        _check_layers(source, [layer.index.diff_id for layer in layers])
        tree = merge_layers([layer.index for layer in layers])
        ensure_mount_points(tree)
        for note in tree.notes:
            _logger.info("%s: %s", source.name, note)
        made = work / "image"
        made.mkdir()
        written = write_image(tree, lambda number: _chunks(layers[number].path), made, store)
        store.publish(made, source.digest, source.config_document, written)


def write_image(
    tree: Tree, read_layer: Callable[[int], Iterable[bytes]], made: Path, store: Store
) -> Written:
    """Write a tree into the directory `made` in the store's format (see write_directory)."""
    destination = made / ROOT_NAMES[store.format]
    if store.format is ImageFormat.DIRECTORY:
        return write_directory(tree, read_layer, destination, for_group=store.is_group)
    written = write_squashfs(tree, read_layer, destination, store.compression)
    destination.chmod(0o644)
    return written


def _save_layers(
    source: Source, layers: list[Descriptor], work: Path, store: Store, progress: PullProgress
) -> dict[str, _SavedLayer]:
    """Save layers side by side, by digest."""
    stop = threading.Event()

    def save(layer: Descriptor) -> _SavedLayer:
        kept = store.layer(layer.digest)
        if kept is not None and _digest(kept) == layer.digest:
            progress.advance(layer, layer.size)
            return _SavedLayer(path=kept, index=index_layer(_chunks(kept)))
        path = work / layer.digest.partition(":")[2]
        with path.open("xb") as blob:

            def received() -> Iterator[bytes]:
                for chunk in source.read(layer):
                    if stop.is_set():
                        raise InterruptedError
                    blob.write(chunk)
                    progress.advance(layer, len(chunk))
                    yield chunk

            chunks = received()
            try:
                index = index_layer(chunks)
            except InvalidImage:
                for _ in chunks:  # if the whole is not what its digest says, that says more
                    pass
                raise
        if store.keeps_layers:
            path = store.keep_layer(path, layer.digest)
        return _SavedLayer(path=path, index=index)

    with ThreadPoolExecutor(LAYERS_AT_ONCE, thread_name_prefix="layer") as pool:
        futures = {layer.digest: pool.submit(save, layer) for layer in layers}
        try:
            return {digest: future.result() for digest, future in futures.items()}
        finally:  # after an error, and when the person has pressed Ctrl-C, the others end too
            stop.set()
            pool.shutdown(cancel_futures=True)


def _check_layers(source: Source, diff_ids: list[str]) -> None:
    """Compare the uncompressed layers with the configuration's (image-spec config.md, diff_ids)."""
    if tuple(diff_ids) != source.diff_ids:
        raise InvalidImage(
            f"the layers of {source.name} are not those that its configuration names",
            "the image is damaged: have it made again",
        )


def _digest(path: Path) -> str:
    checksum = hashlib.sha256()
    for chunk in _chunks(path):
        checksum.update(chunk)
    return f"sha256:{checksum.hexdigest()}"


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk
