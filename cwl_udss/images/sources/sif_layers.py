# SPDX-License-Identifier: Apache-2.0
"""Images of several layers in a SIF file of OCI's kind (`singularity pull --oci --keep-layers`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from cwl_udss.errors import InvalidImage
from cwl_udss.images.formats.sif.oci import oci_image
from cwl_udss.images.formats.sif.reader import COPY_AGAIN, SifObject, read_sif
from cwl_udss.images.formats.squashfs.layer import layer_as_tar
from cwl_udss.images.manifests.manifest import Descriptor, Platform
from cwl_udss.images.sources.source import Source


def sif_layers(path: Path, name: str, platform: Platform) -> Source:
    """Return the image in a SIF file, its layers as tars. Raises ImageError."""
    image = oci_image(read_sif(path, name), platform)
    if image is None:
        raise InvalidImage(f"{name} has no layers", "it is used where it is: in dockerImageId")
    places = {_name(image.digest, layer): layer for layer in image.layers}

    def read(layer: Descriptor) -> Iterator[bytes]:
        return layer_as_tar(path, places[layer.digest].offset)

    return Source(
        name=name,
        digest=image.digest,
        layers=tuple(Descriptor(media_type="", digest=place, size=None) for place in places),
        diff_ids=None,
        config_document=image.config,
        read=read,
        verb="load",
        remedy=COPY_AGAIN,
    )


def _name(image: str, layer: SifObject) -> str:
    """Of the form that layers' names have, and none of a layer in a registry: the digest in the
    file is that of a SquashFS file, and this is a tar."""
    return f"sha256:{hashlib.sha256(f'{image} {layer.offset}'.encode()).hexdigest()}"
