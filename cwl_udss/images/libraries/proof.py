# SPDX-License-Identifier: Apache-2.0
"""What says of an image that somebody else has made which one it is: a digest, or only its name."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from cwl_udss.errors import InvalidReference
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.formats.squashfs.lookup import read_file
from cwl_udss.images.in_place.own_words import read_inside
from cwl_udss.images.libraries.naming import Proof
from cwl_udss.images.manifests.manifest import is_digest
from cwl_udss.images.reference import DOCKER_HUB, ImageReference, parse_reference
from cwl_udss.images.store.image import StoredImage

_LABELS = ".singularity.d/labels.json"
# Apptainer since 1.5 (its CHANGELOG): what the image was pulled by, and that one's digest.
SOURCE_NAME = "org.opencontainers.image.base.name"
SOURCE_DIGEST = "org.opencontainers.image.base.digest"
# DUCC's directories: .flat/HH/DIGEST, by the digest of the configuration, whose beginning is HH.
_FLAT = re.compile(r"/\.flat/([0-9a-f]{2})/(\1[0-9a-f]{62})$")


def proved_digest(
    proof: Proof,
    path: Path,
    labels: Mapping[str, object],
    reference: ImageReference | None,
) -> str:
    """Return the digest of an image that was found under the name of a reference, at a path without
    links, with labels in it; "" if nothing proves one."""
    asked = reference.digest if reference is not None else None
    if proof is Proof.ADDRESS and asked:
        return asked
    if proof is Proof.LINK:
        flat = _FLAT.search(str(path))
        if flat is not None:
            return f"sha256:{flat[2]}"
    return labelled_digest(labels, reference) if reference is not None else ""


def labelled_digest(labels: Mapping[str, object], reference: ImageReference) -> str:
    """Return the digest that labels name for what a reference names. An image may have taken over
    the labels of the one that it was built on, which say the same of that."""
    name, digest = labels.get(SOURCE_NAME), labels.get(SOURCE_DIGEST)
    if not isinstance(name, str) or not isinstance(digest, str) or not is_digest(digest):
        return ""
    with contextlib.suppress(InvalidReference):
        source = _whole(parse_reference(name))
        asked = _whole(reference)
        same_version = asked.tag is None or source.tag in (None, asked.tag)
        if source.name == asked.name and same_version:
            return digest
    return ""


def _whole(reference: ImageReference) -> ImageReference:
    return reference.on(reference.registry or DOCKER_HUB)


def labels_of(image: StoredImage) -> Mapping[str, object]:
    """Return the labels that Apptainer has put into an image that is used where it is; none if
    there are no such. Raises InvalidImage if it is damaged."""
    document = None
    with contextlib.suppress(OSError):  # it may be for nobody to read
        document = _read(image)
    with contextlib.suppress(ValueError, RecursionError):
        labels = json.loads(document or b"{}")
        if isinstance(labels, dict):
            return labels
    return {}


def _read(image: StoredImage) -> bytes | None:
    if image.format is ImageFormat.SQUASHFS:
        return read_file(image.path, _LABELS, image.offset)
    return read_inside(image.path, _LABELS)
