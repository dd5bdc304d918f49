# SPDX-License-Identifier: Apache-2.0
"""Images by reference: from the store if they are there, otherwise from their registry."""

from __future__ import annotations

import contextlib
import enum
import logging
import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from cwl_udss.errors import ImageError, InvalidReference
from cwl_udss.images.convert import Source, convert
from cwl_udss.images.manifest import this_platform
from cwl_udss.images.reference import ImageReference, parse_reference
from cwl_udss.images.registries import load_registries
from cwl_udss.images.remote import RemoteImage, find_image
from cwl_udss.images.store import Store, StoredImage

_logger = logging.getLogger(__name__)

SHORTEST_DIGEST = 6


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
                # A name that a dockerImageId has given comes first, as with Docker.
                image = self._store.find(text, self._platform) or self.find(reference)
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
            convert(_source(remote), self._store)
            image = self._store.find_digest(remote.digest)
        else:
            _logger.info("%s is up to date (%s)", remote.reference, remote.digest)
        if image is None:
            raise ImageError(f"{remote.reference} was removed while it was pulled", "try again")
        self._store.remember(remote.reference, self._platform, remote.digest)
        return image


def _source(remote: RemoteImage) -> Source:
    return Source(
        name=str(remote.reference),
        digest=remote.digest,
        layers=remote.manifest.layers,
        diff_ids=remote.config.diff_ids,
        config_document=remote.config_document,
        read=remote.client.blob,
    )
