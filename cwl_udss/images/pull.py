# SPDX-License-Identifier: Apache-2.0
"""Images by reference: from the store if they are there, otherwise from their registry."""

from __future__ import annotations

import contextlib
import enum
import logging
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cwl_udss.errors import ImageError, InvalidReference
from cwl_udss.filesystems.leases import turn
from cwl_udss.images.locations import address_digest, public_name
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.reference import ImageReference, parse_reference
from cwl_udss.images.sources.registry.registries import Registries, load_registries
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.web.addresses import is_remote

if TYPE_CHECKING:
    from cwl_udss.images.libraries.libraries import Libraries

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

    def __init__(
        self,
        store: Store,
        environment: Mapping[str, str],
        home: Path,
        libraries: Libraries | None = None,
    ) -> None:
        """`libraries` are looked into before a registry is asked."""
        self._store = store
        self._libraries = libraries
        self._environment = environment
        self._home = home
        self._platform = this_platform()
        self._gotten: dict[str, StoredImage] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def get(self, text: str, when: When = When.MISSING, kind: str = "any") -> StoredImage:
        """Return the image that a reference stands for, or that is at a URL, getting it if need be.

        `kind` is what may be at a URL (see archives.read_image_file). Raises ImageError or
        StoreError, with nothing half-made left behind.
        """
        # A run uses one image for one reference, whatever the registry says meanwhile.
        name = public_name(text)
        with self._locks[name]:
            image = self._gotten.get(name) or self._here(name, when)
            if image is None and when is When.NEVER:
                if not is_remote(name):
                    parse_reference(name)  # raises what is wrong with it
                raise ImageError(
                    f"the image {name} is not in the store {self._store.path}",
                    f"pull it where there is a network: cwl-udss images pull {name}",
                )
            self._gotten[name] = image or self._pull(text, when, kind)
            return self._gotten[name]

    @cached_property
    def _registries(self) -> Registries:
        return load_registries(self._environment, self._home)

    def gotten(self) -> Mapping[str, StoredImage]:
        """Return what was asked for until now, by its names."""
        return dict(self._gotten)

    def _here(self, text: str, when: When) -> StoredImage | None:
        """What is in the store, or in a library, whose directories may have any name."""
        image = None
        if when is not When.ALWAYS:
            with contextlib.suppress(InvalidReference):
                image = self.find_name(text)
        if image is None and self._libraries is not None:
            only_by_digest = when is When.ALWAYS
            image = self._libraries.find(text, self._platform, only_by_digest=only_by_digest)
        return image

    def find_name(self, text: str) -> StoredImage | None:
        """Return the image that a name stands for from the store, None if it is not there. A name
        that a dockerImageId has given comes first, as with Docker."""
        if is_remote(text):
            image = self._store.find(text, self._platform)
            return image or self._store.find_digest(address_digest(text) or "")
        return self._store.find(text, self._platform) or self.find(parse_reference(text))

    def find(self, reference: ImageReference) -> StoredImage | None:
        """Return the image from the store, None if it is not there."""
        candidates = (reference,) if reference.registry else self._registries.qualify(reference)
        for candidate in candidates:
            image = self._store.find(candidate, self._platform)
            if image is not None:
                return image
        return None

    def stored(self, text: str) -> StoredImage:
        """Return what a reference stands for, or a digest (or its beginning) names, in the store.

        Raises ImageError if there is no such image.
        """
        stored = self._store.images()
        names = self.references(text)
        for image in stored:
            if names & set(image.references):
                return image
        beginning = text if text.startswith("sha256:") else f"sha256:{text}"
        for image in stored:
            if len(text) >= SHORTEST_DIGEST and image.digest.startswith(beginning):
                return image
        raise ImageError(f"there is no image {text!r} in the store", "see: cwl-udss images list")

    def references(self, text: str) -> set[str]:
        """Return all full names that a name may stand for; none if it is not one of an image."""
        text = public_name(text)
        try:
            return {text, *map(str, self._registries.qualify(parse_reference(text)))}
        except InvalidReference:  # a digest, or what somebody has called an image
            return {text}

    def _pull(self, text: str, when: When, kind: str) -> StoredImage:
        """Pull an image, or wait until another process or machine has."""
        name = public_name(text)
        reference = None if is_remote(text) else parse_reference(text)

        def found() -> StoredImage | None:
            self._store.refresh()
            return self.find_name(name) if when is When.MISSING else None

        lease = self._store.lease(f"{name} {self._platform}")
        with turn(lease, lambda: found() is not None, f"pull the image {name}"):
            image = found()
            if image is not None:
                return image
            return self._downloaded(text, kind) if reference is None else self._pulled(reference)

    def _downloaded(self, url: str, kind: str) -> StoredImage:
        from cwl_udss.images.web_images import download_image

        return download_image(url, kind, self._store, self._platform)

    def _pulled(self, reference: ImageReference) -> StoredImage:
        from cwl_udss.images.adopt import make_image
        from cwl_udss.images.sources.registry.remote import find_image

        remote = find_image(
            reference,
            platform=self._platform,
            registries=self._registries,
            environment=self._environment,
            home=self._home,
        )
        image = self._store.find_digest(remote.digest)
        if image is None and self._libraries is not None:
            # Caches of other programs are by digest, which is known by now.
            exact = str(replace(reference, digest=remote.digest))
            elsewhere = self._libraries.find(exact, self._platform, only_by_digest=True)
            if elsewhere is not None:
                return elsewhere
        if image is None:
            image = make_image(remote.source, self._store, self._platform)
        else:
            _logger.info("%s is up to date (%s)", remote.reference, remote.digest)
        self._store.remember(remote.reference, self._platform, remote.digest)
        return image
