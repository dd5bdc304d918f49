# SPDX-License-Identifier: Apache-2.0
"""Images by reference: from the store if they are there, otherwise from their registry."""

from __future__ import annotations

import contextlib
import enum
import logging
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cwl_udss.errors import ImageError, InvalidImage, InvalidReference
from cwl_udss.images.archive import LayerIndex, index_layer
from cwl_udss.images.directory import write_directory
from cwl_udss.images.manifest import Descriptor, this_platform
from cwl_udss.images.merge import ensure_mount_points, merge_layers
from cwl_udss.images.progress import PullProgress, pull_progress
from cwl_udss.images.reference import ImageReference, parse_reference
from cwl_udss.images.registries import load_registries
from cwl_udss.images.remote import RemoteImage, find_image
from cwl_udss.images.store import Store, StoredImage

_logger = logging.getLogger(__name__)

# As Docker and containers/image do: enough to hide latency, polite to registries.
LAYERS_AT_ONCE = 3
SHORTEST_DIGEST = 6
_CHUNK_BYTES = 1 << 20


class When(enum.Enum):
    """When to ask the registry."""

    MISSING = "missing"
    ALWAYS = "always"
    """Once for each reference, not for each step that has it."""
    NEVER = "never"


class Images:
    """Gets images for any number of threads; one pull per reference at a time."""

    def __init__(self, store: Store, environment: Mapping[str, str], home: Path) -> None:
        self._store = store
        self._environment = environment
        self._home = home
        self._registries = load_registries(environment, home)
        self._platform = this_platform()
        self._gotten: dict[str, StoredImage] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def get(self, text: str, when: When = When.MISSING) -> StoredImage:
        """Return the image that a reference stands for, pulling it if need be.

        Raises ImageError or StoreError, with nothing half-made left behind.
        """
        reference = parse_reference(text)
        # A run uses one image for one reference, whatever the registry says meanwhile.
        with self._locks[text]:
            image = self._gotten.get(text)
            if image is None and when is not When.ALWAYS:
                image = self.find(reference)
            if image is None and when is When.NEVER:
                raise ImageError(
                    f"the image {text} is not in the store {self._store.path}",
                    f"pull it first: cwl-udss images pull {text}",
                )
            self._gotten[text] = image or self._pull(reference)
            return self._gotten[text]

    def find(self, reference: ImageReference) -> StoredImage | None:
        """Return the image from the store, None if it is not there."""
        for candidate in self._registries.qualify(reference):
            image = self._store.find(candidate, self._platform)
            if image is not None:
                return image
        return None

    def remove(self, text: str) -> None:
        """Remove what a reference stands for, or a digest (or its beginning) names.

        Raises ImageError if there is no such image in the store.
        """
        stored = self._store.images()
        with contextlib.suppress(InvalidReference):  # a digest is none
            names = {str(name) for name in self._registries.qualify(parse_reference(text))}
            named = [image for image in stored if names & set(image.references)]
            for image in named:
                self._store.remove(image, names)
            if named:
                return
        beginning = text if text.startswith("sha256:") else f"sha256:{text}"
        for image in stored:
            if len(text) >= SHORTEST_DIGEST and image.digest.startswith(beginning):
                self._store.remove(image, set(image.references))
                return
        raise ImageError(f"there is no image {text} in the store", "see: cwl-udss images list")

    def _pull(self, reference: ImageReference) -> StoredImage:
        remote = find_image(
            reference,
            platform=self._platform,
            registries=self._registries,
            environment=self._environment,
            home=self._home,
        )
        image = self._store.find_digest(remote.digest)
        if image is None:
            _convert(remote, self._store)
            image = self._store.find_digest(remote.digest)
        else:
            _logger.info("%s is up to date (%s)", remote.reference, remote.digest)
        if image is None:
            raise ImageError(f"{remote.reference} was removed while it was pulled", "try again")
        self._store.remember(remote.reference, self._platform, remote.digest)
        return image


def _convert(remote: RemoteImage, store: Store) -> None:
    """Download the layers, merge their headers, write the finished tree and publish it."""
    layers = remote.manifest.layers
    distinct = list({layer.digest: layer for layer in layers}.values())
    with store.work() as work, pull_progress(str(remote.reference), distinct) as progress:
        made = work / "image"
        made.mkdir()
        indexes = _download(remote, distinct, work, progress)
        _check_layers(remote, [indexes[layer.digest].diff_id for layer in layers])
        tree = merge_layers([indexes[layer.digest] for layer in layers])
        ensure_mount_points(tree)
        for note in tree.notes:
            _logger.info("%s: %s", remote.reference, note)
        written = write_directory(
            tree, lambda number: _chunks(_blob(work, layers[number])), made / "rootfs"
        )
        store.publish(
            made,
            remote.digest,
            remote.config_document,
            size=written.bytes,
            entries=written.entries,
        )


def _download(
    remote: RemoteImage, layers: list[Descriptor], work: Path, progress: PullProgress
) -> dict[str, LayerIndex]:
    """Download layers side by side, reading their headers as they come. Digest → index."""
    stop = threading.Event()

    def download(layer: Descriptor) -> LayerIndex:
        with _blob(work, layer).open("xb") as blob:

            def saved() -> Iterator[bytes]:
                for chunk in remote.client.blob(layer):
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
        futures = {layer.digest: pool.submit(download, layer) for layer in layers}
        try:
            return {digest: future.result() for digest, future in futures.items()}
        finally:  # after an error, and when the person has pressed Ctrl-C, the others end too
            stop.set()
            pool.shutdown(cancel_futures=True)


def _check_layers(remote: RemoteImage, diff_ids: list[str]) -> None:
    """Compare the uncompressed layers with the configuration's (image-spec config.md, diff_ids)."""
    if tuple(diff_ids) != remote.config.diff_ids:
        raise InvalidImage(
            f"the layers of {remote.reference} are not those that its configuration names",
            "the image is damaged: have it pushed again",
        )


def _blob(work: Path, layer: Descriptor) -> Path:
    return work / layer.digest.partition(":")[2]


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk
