# SPDX-License-Identifier: Apache-2.0
"""Makes an image of the store out of layers, wherever these come from."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.errors import InvalidImage
from cwl_udss.images.archive import LayerIndex, index_layer
from cwl_udss.images.directory import write_directory
from cwl_udss.images.manifest import Descriptor
from cwl_udss.images.merge import ensure_mount_points, merge_layers
from cwl_udss.images.progress import PullProgress, pull_progress
from cwl_udss.images.store import Store

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


def convert(source: Source, store: Store) -> None:
    """Read the layers, merge their headers, write the finished tree and publish it.

    Raises ImageError or StoreError, with nothing half-made left behind.
    """
    distinct = list({layer.digest: layer for layer in source.layers}.values())
    with store.work() as work, pull_progress(source.name, distinct, source.verb) as progress:
        made = work / "image"
        made.mkdir()
        indexes = _save_layers(source, distinct, work, progress)
        _check_layers(source, [indexes[layer.digest].diff_id for layer in source.layers])
        tree = merge_layers([indexes[layer.digest] for layer in source.layers])
        ensure_mount_points(tree)
        for note in tree.notes:
            _logger.info("%s: %s", source.name, note)
        written = write_directory(
            tree, lambda number: _chunks(_blob(work, source.layers[number])), made / "rootfs"
        )
        store.publish(
            made,
            source.digest,
            source.config_document,
            size=written.bytes,
            entries=written.entries,
        )


def _save_layers(
    source: Source, layers: list[Descriptor], work: Path, progress: PullProgress
) -> dict[str, LayerIndex]:
    """Save layers side by side, reading their headers as they come. Digest → index."""
    stop = threading.Event()

    def save(layer: Descriptor) -> LayerIndex:
        with _blob(work, layer).open("xb") as blob:

            def saved() -> Iterator[bytes]:
                for chunk in source.read(layer):
                    if stop.is_set():
                        raise InterruptedError
                    blob.write(chunk)
                    progress.advance(layer, len(chunk))
                    yield chunk

            chunks = saved()
            try:
                return index_layer(chunks)
            except InvalidImage:
                for _ in chunks:  # if the whole is not what its digest says, that says more
                    pass
                raise

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


def _blob(work: Path, layer: Descriptor) -> Path:
    return work / layer.digest.partition(":")[2]


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk
