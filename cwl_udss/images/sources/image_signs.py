# SPDX-License-Identifier: Apache-2.0
"""Tells images from root filesystems, which may have files that are called so, too."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from cwl_udss.errors import ImageError, InvalidImage
from cwl_udss.images.manifests.manifest import LARGEST_DOCUMENT
from cwl_udss.images.sources.image_files import ImageFile

DOCKER_LISTING = "manifest.json"
OCI_LISTING = "index.json"
_OCI_MARK = "oci-layout"
_TRANSPORT_MARK = ("version", b"Directory Transport Version:")


def is_image(file: ImageFile) -> bool:
    """Say whether it is an image rather than a root filesystem."""
    return is_transport(file) or _is_docker_listing(file) or _is_oci_listing(file)


def check_root(file: ImageFile) -> None:
    """Raise InvalidImage if it is something that no root filesystem is."""
    if is_image(file):
        raise InvalidImage(
            f"{file.name} is an image, and no root filesystem", "give it as dockerLoad"
        )
    check_kind(file)


def check_kind(file: ImageFile) -> None:
    """Raise InvalidImage if it holds a root filesystem in a way that is not read, and would pass
    for one."""
    config = _json_if_any(file, "config.json")
    if isinstance(config, dict) and {"ociVersion", "root"} <= config.keys():  # runtime-spec
        raise InvalidImage(
            f"{file.name} is a bundle for an OCI runtime",
            "name the root filesystem that is in it (rootfs)",
        )
    tags = _json_if_any(file, "repositories")  # moby's image/spec/v1.md
    names = tags.values() if isinstance(tags, dict) else ()
    layers = [layer for name in names if isinstance(name, dict) for layer in name.values()]
    if any(file.size(f"{layer}/layer.tar") is not None for layer in layers):
        raise InvalidImage(
            f"{file.name} is an image as Docker before 1.10 saved it",
            "load it into a newer Docker, or podman, and save it again",
        )


def is_transport(file: ImageFile) -> bool:
    """Say whether it is what skopeo and podman call `dir:`."""
    name, beginning = _TRANSPORT_MARK
    return _content_if_any(file, name).startswith(beginning)


def _is_docker_listing(file: ImageFile) -> bool:
    listing = _json_if_any(file, DOCKER_LISTING)
    entries = listing if isinstance(listing, list) else []
    return any(
        isinstance(entry, dict) and {"Config", "Layers"} <= entry.keys() for entry in entries
    )


def _is_oci_listing(file: ImageFile) -> bool:
    if file.size(_OCI_MARK) is not None:
        return True
    listing = _json_if_any(file, OCI_LISTING)
    return isinstance(listing, dict) and "manifests" in listing


def _json_if_any(file: ImageFile, path: str) -> Any:
    """What a document says; None if it is none."""
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(_content_if_any(file, path))
    return None


def _content_if_any(file: ImageFile, path: str) -> bytes:
    """What a root filesystem has there may be anything, or not be for everybody to read."""
    size = file.size(path)
    if size is not None and size <= LARGEST_DOCUMENT:
        with contextlib.suppress(ImageError):
            return b"".join(file.read(path))
    return b""
