# SPDX-License-Identifier: Apache-2.0
"""What is in registries beside container images, by the media types that its makers chose."""

from __future__ import annotations

# By a part of a media type; the first that fits. Who has pulled one of these by mistake knows it by
# this name, and not by its type.
_NAMES = {
    "vnd.sylabs.sif": "a SIF image, which only Singularity and Apptainer run",
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


def name_artifact(*media_types: str) -> str | None:
    """Return what something of these media types is, in words and by its type; None if that is not
    known."""
    for part, name in _NAMES.items():
        for media_type in media_types:
            if part in media_type.lower():
                return f"{name} ({media_type})"
    return None
