# SPDX-License-Identifier: Apache-2.0
"""SIF files of OCI's kind, as SingularityCE 4 makes them, for tests."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sif_files import Object, sif

from cwl_udss.images.formats.sif.layout import ObjectKind

SQUASHFS_LAYER = "application/vnd.sylabs.image.layer.v1.squashfs"
OVERLAY = "application/vnd.sylabs.image.layer.v1.ext3"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def blob(content: bytes) -> Object:
    """A blob, found by its digest."""
    return Object(kind=ObjectKind.OCI_BLOB, content=content, extra=digest(content).encode())


def index(*manifests: bytes) -> Object:
    """What lists the images."""
    return Object(
        kind=ObjectKind.OCI_ROOT_INDEX,
        content=json.dumps(
            {
                "schemaVersion": 2,
                "manifests": [_descriptor(_MANIFEST, manifest) for manifest in manifests],
            }
        ).encode(),
    )


def config_of(architecture: str = "amd64", **process: Any) -> bytes:
    """A configuration."""
    return json.dumps(
        {
            "os": "linux",
            "architecture": architecture,
            "config": process,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{'0' * 64}"]},
        }
    ).encode()


def manifest_of(config: bytes, layers: list[bytes], kind: str = SQUASHFS_LAYER) -> bytes:
    """The manifest of an image."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config),
            "layers": [_descriptor(kind, layer) for layer in layers],
        }
    ).encode()


def oci_sif(config: bytes, *layers: bytes) -> bytes:
    """A SIF file with one image."""
    manifest = manifest_of(config, list(layers))
    return sif(*map(blob, layers), blob(config), blob(manifest), index(manifest))


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest(content), "size": len(content)}
