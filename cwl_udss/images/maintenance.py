# SPDX-License-Identifier: Apache-2.0
"""Keeps a store in order: removes what is not needed, finds what is damaged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.errors import StoreError
from cwl_udss.images.formats import ImageFormat
from cwl_udss.images.listing import directory_digest, file_digest
from cwl_udss.images.pull import Images
from cwl_udss.images.store import Store, StoredImage
from cwl_udss.leases import LEASE_SECONDS


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of looking at an image."""

    image: StoredImage
    quarantined: Path | None
    """Where it is now, if it was damaged."""


def remove_named(images: Images, store: Store, name: str) -> None:
    """Forget a reference, or a digest with all its references, and remove the image when none is
    left. Raises ImageError if there is none, StoreError if it is in use, on whichever machine."""
    image = images.stored(name)
    references = images.references(name) & set(image.references) or set(image.references)
    if references == set(image.references):
        _remove_unused(store, image)
    store.forget(image, references)


def _remove_unused(store: Store, image: StoredImage) -> None:
    users = store.users(image, patience=LEASE_SECONDS)
    if users or not store.remove(image):
        names = ", ".join(sorted(".".join(user.name.split(".")[:-1]) for user in users))
        raise StoreError(
            f"the image {image.digest} is in use ({names or 'since just now'})",
            "wait for the runs of these hosts and processes to end",
        )


def prune(
    store: Store, *, older_than: float | None = None, most_bytes: int | None = None
) -> Iterator[StoredImage]:
    """Remove what was not used for `older_than` seconds, and then, the least recently used first,
    until the rest takes no more than `most_bytes`. What is in use stays. Gives what is removed."""
    images = sorted(store.images(), key=lambda image: image.last_used or 0)
    total = sum(image.size for image in images)
    now = time.time()
    for image in images:
        is_old = older_than is not None and now - (image.last_used or 0) > older_than
        is_too_much = most_bytes is not None and total > most_bytes
        if not is_old and not is_too_much:
            continue
        if not store.users(image, patience=LEASE_SECONDS) and store.remove(image):
            store.forget(image, image.references)
            total -= image.size
            yield image


def verify(store: Store) -> Iterator[Verification]:
    """Read every image again, and put aside what is not what it was."""
    for image in store.images():
        is_whole = _digest(image) == image.content
        place = None if is_whole else store.quarantine(image)
        yield Verification(image=image, quarantined=place)


def _digest(image: StoredImage) -> str:
    """The digest of the content as it is now; "" if not even that can be had."""
    try:
        if image.format is ImageFormat.DIRECTORY:
            return directory_digest(image.path)
        return file_digest(image.path)
    except OSError:
        return ""
