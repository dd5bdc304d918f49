# SPDX-License-Identifier: Apache-2.0
"""Docker's image manifest version 2, schema 1: what images of before 2016 have.

The format: distribution's docs/spec/manifest-v2-1.md; its signatures: libtrust's jsonsign.go. It
has no configuration of its own and no digests of uncompressed layers; each layer has that of the
image as it was then, as a text.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from cwl_udss.errors import InvalidImage
from cwl_udss.images.manifests.documents import array, as_object, parse_object, text
from cwl_udss.records import record

SCHEMA_1_TYPES = (
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
)
_MALFORMED = "the manifest (schema 1) is malformed"


@record(frozen=True, kw_only=True)
class Schema1Manifest:
    """An image for one platform."""

    layers: tuple[str, ...]
    """Digests, the oldest first."""
    config_document: bytes
    """The configuration, but for the digests of uncompressed layers."""
    architecture: str
    """Of the manifest; the configuration may have another, or none."""


def is_schema_1(content: Mapping[str, Any]) -> bool:
    """Say whether a parsed manifest is one of schema 1, whatever its server calls it: many say
    text/plain or application/json."""
    return content.get("schemaVersion") == 1


def signed_payload(document: bytes) -> bytes:
    """Return what the signatures in a manifest are of, which is also what its digest is of; any
    other document as it is.

    That alone may be parsed: what is between it and the signatures nobody has vouched for. The
    signatures are not checked: they are by keys that each Docker made for itself, so they say
    nothing of who signed, and the format is deprecated. Raises InvalidImage.
    """
    try:
        content = parse_object(document, "manifest")
    except InvalidImage:
        return document
    if not is_schema_1(content) or "signatures" not in content:
        return document
    payloads = {_payload(document, signature) for signature in array(content, "signatures")}
    if len(payloads) != 1:
        raise InvalidImage(_MALFORMED, f"its signatures are of {len(payloads)} contents")
    return payloads.pop()


def parse_schema_1(content: Mapping[str, Any]) -> Schema1Manifest:
    """Read a parsed manifest of schema 1. Raises InvalidImage if it contradicts itself."""
    blobs = [text(as_object(item, "layer"), "blobSum") for item in array(content, "fsLayers")]
    history = [
        text(as_object(item, "history"), "v1Compatibility") for item in array(content, "history")
    ]
    if not blobs or len(blobs) != len(history):
        raise InvalidImage(_MALFORMED, f"it has {len(blobs)} layers for {len(history)} images")
    images = [parse_object(image, "history") for image in history]
    _check_parents(images)
    return Schema1Manifest(
        layers=tuple(reversed(list(_layers(blobs, images)))),
        config_document=history[0].encode("utf-8", "surrogatepass"),
        architecture=text(content, "architecture"),
    )


def _layers(blobs: list[str], images: list[Mapping[str, Any]]) -> Iterator[str]:
    """Layers that change something, the newest first. An image that is there twice in succession
    counts once, as with Docker (moby's fixManifestLayers)."""
    older = [text(image, "id") for image in images[1:]]
    for blob, image, next_id in zip(blobs, images, [*older, ""], strict=True):
        is_again = next_id and text(image, "id") == next_id
        if not is_again and image.get("throwaway") is not True:
            yield blob


def _check_parents(images: list[Mapping[str, Any]]) -> None:
    for image, older in pairwise(images):
        if text(image, "id") != text(older, "id") and text(image, "parent") != text(older, "id"):
            raise InvalidImage(_MALFORMED, "its layers do not follow from each other")
    if text(images[-1], "parent"):
        raise InvalidImage(_MALFORMED, "its oldest layer is missing")


def _payload(document: bytes, signature: Any) -> bytes:
    """The beginning of the document and what followed that before it was signed."""
    protected = text(as_object(signature, "signature"), "protected")
    header = parse_object(_base64(protected), "signature")
    length = header.get("formatLength")
    if not isinstance(length, int) or isinstance(length, bool) or not 0 < length <= len(document):
        raise InvalidImage(_MALFORMED, f"{length!r} is no length of what is signed")
    return document[:length] + _base64(text(header, "formatTail"))


def _base64(encoded: str) -> bytes:
    """Decode base64url without padding (RFC 7515, 2)."""
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars="-_", validate=True)
    except ValueError as error:
        raise InvalidImage(_MALFORMED, "its signatures are not encoded as they must be") from error
