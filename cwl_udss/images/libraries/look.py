# SPDX-License-Identifier: Apache-2.0
"""What is at a path of a library, and which image that is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cwl_udss.errors import ImageError
from cwl_udss.images.formats.sif.reader import is_sif
from cwl_udss.images.in_place.found import found_image
from cwl_udss.images.libraries.naming import Kind, Naming
from cwl_udss.images.libraries.proof import labels_of, proved_digest
from cwl_udss.images.manifests.manifest import Platform
from cwl_udss.images.reference import ImageReference
from cwl_udss.images.store.image import StoredImage
from cwl_udss.records import record


@record(frozen=True, kw_only=True)
class Seen:
    """What is at a path."""

    image: StoredImage | None
    """With a digest if one is proved; None if it has to be read first."""


def look(
    path: Path, convention: Naming, reference: ImageReference | None, platform: Platform
) -> Seen | None:
    """Return what is at a path; None if that is no image. Raises ImageError, and OSError."""
    if convention.kind is Kind.ARCHIVE:
        return Seen(image=None)
    # What a link leads to now is what the run uses.
    path = path.resolve(strict=True)
    if not path.is_dir() and not path.is_file():  # whoever opens a pipe waits for another
        raise ImageError(f"{path} is no file", "remove it")
    if path.is_dir() and not (path / convention.mark).exists():
        return None
    image = found_image(path, str(path), platform)
    if image is None and is_sif(path):
        return Seen(image=None)  # one of several layers
    if image is None:
        raise ImageError(f"{path} is an archive, or no image", "give it as dockerLoad")
    labels = labels_of(image)
    digest = proved_digest(convention.proof, path, labels, reference)
    return Seen(image=replace(image, digest=digest))
