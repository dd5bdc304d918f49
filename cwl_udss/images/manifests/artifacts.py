# SPDX-License-Identifier: Apache-2.0
"""What is in registries, by the media types that its makers chose: images of layers, images in one
file, and all else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cwl_udss.errors import InvalidImage, NoContainerImage
from cwl_udss.machine.quantities import counted

_OCI = "application/vnd.oci.image"
CONFIG_TYPES = (f"{_OCI}.config.v1+json", "application/vnd.docker.container.image.v1+json")
# Those of image-spec and Docker, and what stands for no more than a file or a tar. How it is
# compressed its first bytes say.
_LAYER = (
    r"|application/vnd\.(oci\.image\.layer\.(nondistributable\.)?v1\.tar"
    r"|docker\.image\.rootfs\.(foreign\.)?diff\.tar|docker\.container\.image\.rootfs\.diff\+x-gtar)"
    r"([.+](gzip|zstd?|bzip2|xz))?"
    r"|(application|binary)/(octet-stream|(?!vnd\.)[a-z+.-]*(tar|gzip|tgz|zstd|compressed))"
)
# No root filesystem, whoever says so.
_TEXT = r"(text|image|audio|video)/.*|.*[/+](json|yaml|xml|pdf)"
# What artifacts have that need none (image-spec manifest.md, "Guidance for an Empty Descriptor").
NO_CONFIG = "application/vnd.oci.empty.v1+json"
# Of layers, configurations and artifacts, those of Singularity before 3.7 with a misspelling before
# it (apptainer's internal/pkg/client/oras/layer.go).
_SIF = "/vnd.sylabs.sif."
_SIF_LAYER = "/vnd.sylabs.sif.layer."
# Layers of an OCI-SIF in a registry (sylabs/oci-tools, pkg/mutate).
_SQUASHFS_LAYER = "squashfs"
_OVERLAY_LAYER = "application/vnd.sylabs.image.layer.v1.ext3"
_RUNNABLE = "name an image that Docker could run"

# By a part of a media type; the first that fits. Who has pulled one of these by mistake knows it by
# this name, and not by its type.
_NAMES = {
    "vnd.sylabs.data-container": "a data container of Singularity",
    "vnd.cncf.helm": "a Helm chart",
    "wasm": "a WebAssembly module",
    "cosign": "a signature by cosign",
    "sigstore": "a signature by cosign",
    "notary.signature": "a signature by Notary",
    "in-toto": "an attestation of how an image was built",
    "cyclonedx": "a list of what is in an image",
    "spdx": "a list of what is in an image",
    "vnd.ollama": "a model for Ollama",
    "devcontainers": "a feature of a development container",
    "docker.plugin": "a plugin of Docker",
    "nydus": "an image for Nydus",
}


def is_image_type(artifact_type: str) -> bool:
    """Say whether what a list calls so is an image; one that says nothing may be."""
    return artifact_type in ("", *CONFIG_TYPES) or _SIF in artifact_type.lower()


def file_layer(config: str, artifact: str, layers: Sequence[str]) -> int | None:
    """Return which layer of a manifest is a file with a root filesystem in it, by media types: a
    SIF image, a SquashFS file, or something that only its content tells. None for an image of
    layers.

    Raises what is to be said of an image that is none, or cannot be read.
    """
    sifs = [number for number, layer in enumerate(layers) if _SIF_LAYER in layer]
    if sifs or _SIF in config or _SIF in artifact.lower():
        found = sifs or range(len(layers))
        if len(found) != 1:
            raise InvalidImage(f"it has {counted(len(found), 'SIF image')}", "push one only")
        return found[0]
    if name_artifact(artifact, config, *layers):
        raise no_image(artifact, config, *layers)
    for layer in layers:
        if "encrypted" in layer:
            raise InvalidImage(f"a layer is encrypted ({layer})", "ask for an image that is not")
    odd = [layer for layer in layers if not re.fullmatch(_LAYER, layer)]
    if not odd and config != NO_CONFIG:
        return None
    if len(layers) == 1 and not re.fullmatch(_TEXT, layers[0]):
        return 0
    if _OVERLAY_LAYER in odd:
        raise InvalidImage(
            "it has an overlay that can be written to (ext3)", "have the image pushed without it"
        )
    if config not in CONFIG_TYPES:
        raise no_image(artifact, config)
    for layer in odd:
        if not is_squashfs(layer):
            raise NoContainerImage(f"a layer is no file system but {layer}", _RUNNABLE)
    return None


def is_squashfs(layer: str) -> bool:
    """Say whether a layer's media type is that of one in an OCI-SIF: a SquashFS file, and no
    tar."""
    return _SQUASHFS_LAYER in layer


def no_image(*media_types: str) -> NoContainerImage:
    """Return what is raised for something of these media types that is no image."""
    named = name_artifact(*media_types) or next(filter(None, media_types), "something else")
    return NoContainerImage(f"it is no container image but {named}", _RUNNABLE)


def name_artifact(*media_types: str) -> str | None:
    """Return what something of these media types is, in words and by its type; None if that is not
    known."""
    for part, name in _NAMES.items():
        for media_type in media_types:
            if part in media_type.lower():
                return f"{name} ({media_type})"
    return None
