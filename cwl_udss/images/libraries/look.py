# SPDX-License-Identifier: Apache-2.0
"""What is at a path of a library, and which image that is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cwl_udss.errors import ImageError
from cwl_udss.images.in_place.found import found_image
from cwl_udss.images.libraries.naming import Kind, Naming
from cwl_udss.images.libraries.proof import labels_of, proved_digest
from cwl_udss.images.manifests.manifest import Platform
from cwl_udss.images.reference import ImageReference
from cwl_udss.images.store.image import StoredImage


def look(
    path: Path, convention: Naming, reference: ImageReference | None, platform: Platform
) -> StoredImage | None:
    """Return the image at a path, with a digest if one is proved; None if there is none, or an
    archive that has to be read first. Raises ImageError, and OSError."""
    if convention.kind is Kind.ARCHIVE:
        return None
    # What a link leads to now is what the run uses.
    path = path.resolve(strict=True)
    if not path.is_dir() and not path.is_file():  # whoever opens a pipe waits for another
        raise ImageError(f"{path} is no file", "remove it")
    if path.is_dir() and not (path / convention.mark).exists():
        return None
    image = found_image(path, str(path), platform)
    if image is None:
        raise ImageError(f"{path} is an archive, or no image", "give it as dockerLoad")
    labels = labels_of(image)
    return replace(image, digest=proved_digest(convention.proof, path, labels, reference))
