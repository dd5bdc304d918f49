# SPDX-License-Identifier: Apache-2.0
"""SIF files of OCI's kind, as `singularity pull --oci` makes them: a registry's documents, and
layers that are SquashFS files (https://github.com/sylabs/oci-tools, pkg/sif and pkg/mutate)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cwl_udss.errors import DamagedImage, InvalidImage, named
from cwl_udss.images.formats.sif.layout import ObjectKind
from cwl_udss.images.formats.sif.reader import COPY_AGAIN, Sif, SifObject
from cwl_udss.images.manifests.documents import array, as_object, parse_object, text
from cwl_udss.images.manifests.manifest import (
    ImageIndex,
    Platform,
    check_platform,
    parse_config,
    parse_manifest,
)

_logger = logging.getLogger(__name__)

_LAYER = "application/vnd.sylabs.image.layer.v1.squashfs"
_OVERLAY = "application/vnd.sylabs.image.layer.v1.ext3"


@dataclass(frozen=True, kw_only=True)
class OciImage:
    """The image in a SIF file of OCI's kind."""

    digest: str
    """Of its manifest."""
    config: bytes
    layers: tuple[SifObject, ...]
    """SquashFS files, the oldest first."""


def oci_image(sif: Sif, platform: Platform) -> OciImage | None:
    """Return the image for a platform in a SIF file; None if the file is not of OCI's kind. Raises
    ImageError, also if there is no such image, or several."""
    roots = list(sif.of_kind(ObjectKind.OCI_ROOT_INDEX))
    if not roots:
        return None
    if len(roots) > 1:
        raise InvalidImage(f"{sif.name} has several indexes of images", "make it again")
    with named(sif.name):
        return _Search(sif).image(sif.read(roots[0]), platform)


class _Search:
    """One look for an image in a SIF file."""

    def __init__(self, sif: Sif) -> None:
        self._sif = sif
        self._blobs = {
            found.extra.partition(b"\0")[0].decode("ascii", "replace"): found
            for found in sif.of_kind(ObjectKind.OCI_BLOB)
        }

    def image(self, index: bytes, platform: Platform) -> OciImage:
        listed = parse_manifest(index)
        if not isinstance(listed, ImageIndex):
            raise InvalidImage("its index lists no images", "make it again")
        manifests = {
            entry.digest: parse_object(self._document(entry.digest), "manifest")
            for entry in listed.entries
        }
        # Beside an image there may be its signatures (cosign's), which have other layers.
        images = {
            digest: manifest
            for digest, manifest in manifests.items()
            if any(kind in (_LAYER, _OVERLAY) for kind, _ in _layers(manifest))
        }
        if len(images) != 1:
            what = f"{len(images)} images" if images else "no image that can be run"
            raise InvalidImage(f"it holds {what}", "pull one: singularity pull --oci")
        (digest, manifest), *_ = images.items()
        config = self._document(text(as_object(manifest.get("config"), "config"), "digest"))
        check_platform(parse_config(config), platform)
        return OciImage(digest=digest, config=config, layers=self._root(manifest))

    def _root(self, manifest: Mapping[str, Any]) -> tuple[SifObject, ...]:
        found = []
        for kind, digest in _layers(manifest):
            if kind == _OVERLAY:
                _logger.warning("%s has an overlay, which is not used", self._sif.name)
            elif kind != _LAYER:
                raise InvalidImage(f"a layer is no SquashFS file but {kind}", "pull it again")
            else:
                found.append(self._blob(digest))
        if not found:
            raise InvalidImage("it has no root filesystem", "pull it again")
        return tuple(found)

    def _blob(self, digest: str) -> SifObject:
        if digest not in self._blobs:
            raise DamagedImage(f"it lacks {digest}", COPY_AGAIN)
        return self._blobs[digest]

    def _document(self, digest: str) -> bytes:
        document = self._sif.read(self._blob(digest))
        if f"sha256:{hashlib.sha256(document).hexdigest()}" != digest:
            raise DamagedImage(f"{digest} in it is another", COPY_AGAIN)
        return document


def _layers(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Media types and digests."""
    layers = [as_object(layer, "layer") for layer in array(manifest, "layers")]
    return [(text(layer, "mediaType"), text(layer, "digest")) for layer in layers]
