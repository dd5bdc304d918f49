# SPDX-License-Identifier: Apache-2.0
"""Keeps a store in order: removes what is not needed, finds what is damaged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.errors import StoreError
from cwl_udss.filesystems.leases import LEASE_SECONDS
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.pull import Images
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.images.trees.listing import directory_digest, file_digest


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of looking at an image."""

    image: StoredImage
    quarantined: Path | None = None
    """Where it is now, if it was damaged."""
    problem: str = ""
    """Why it is not known whether it is damaged, or stays although it is."""


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What came of removing an image that is not needed."""

    image: StoredImage
    problem: str = ""
    """Why it stays."""


def remove_named(images: Images, store: Store, name: str) -> None:
    """Forget a reference, or a digest with all its references, and remove the image when none is
    left. Raises ImageError if there is none, StoreError if it is in use, on whichever machine, or
    another's."""
    image = images.stored(name)
    references = images.references(name) & set(image.references) or set(image.references)
    if references == set(image.references):
        remove_unused(store, image)
    store.forget(image, references)


def remove_unused(store: Store, image: StoredImage) -> None:
    """Remove an image. Raises StoreError if it is in use, on whichever machine, or another's."""
    users = store.users(image, patience=LEASE_SECONDS)
    if users or not store.remove(image):
        names = ", ".join(sorted(".".join(user.name.split(".")[:-1]) for user in users))
        raise StoreError(
            f"the image {image.digest} is in use ({names or 'since just now'})",
            "wait for the runs of these hosts and processes to end",
        )


def prune(
    store: Store, *, older_than: float | None = None, most_bytes: int | None = None
) -> Iterator[Removal]:
    """Remove what was not used for `older_than` seconds, and then, the least recently used first,
    until the rest takes no more than `most_bytes`. What is in use stays. Gives what is removed, and
    what would be were it not another's."""
    images = sorted(store.images(), key=lambda image: image.last_used or 0)
    total = sum(image.size for image in images)
    now = time.time()
    for image in images:
        is_old = older_than is not None and now - (image.last_used or 0) > older_than
        is_too_much = most_bytes is not None and total > most_bytes
        if not is_old and not is_too_much:
            continue
        try:
            if not store.users(image, patience=LEASE_SECONDS) and store.remove(image):
                store.forget(image, image.references)
                total -= image.size
                yield Removal(image=image)
        except StoreError as error:
            yield Removal(image=image, problem=str(error))


def verify(store: Store) -> Iterator[Verification]:
    """Read every image again, and put aside what is not what it was."""
    for image in store.images():
        try:
            is_whole = _digest(image) == image.content
            yield Verification(
                image=image, quarantined=None if is_whole else store.quarantine(image)
            )
        except PermissionError as error:
            problem = f"it cannot be read: {system_words(error)}"
            yield Verification(image=image, problem=problem)
        except StoreError as error:
            yield Verification(image=image, problem=f"it is DAMAGED, but stays: {error}")


def _digest(image: StoredImage) -> str:
    """The digest of the content as it is now; "" if not even that can be had. Raises
    PermissionError if that is not for us to say."""
    try:
        if image.format is ImageFormat.DIRECTORY:
            return directory_digest(image.path)
        return file_digest(image.path)
    except PermissionError:
        raise
    except OSError:
        return ""
