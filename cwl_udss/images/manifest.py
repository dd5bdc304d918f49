# SPDX-License-Identifier: Apache-2.0
"""What a registry says of an image: manifests, lists of them by platform, and configurations.

Pure: documents in, values out. The formats: OCI image-spec (manifest.md, image-index.md, config.md)
and Docker's image manifest version 2, schema 2.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from cwl_udss.errors import ImageError, InvalidImage

LARGEST_DOCUMENT = 4 << 20  # of manifests: what containers/image and distribution accept

_OCI = "application/vnd.oci.image"
_DOCKER = "application/vnd.docker.distribution.manifest"
MANIFEST_TYPES = (f"{_OCI}.manifest.v1+json", f"{_DOCKER}.v2+json")
INDEX_TYPES = (f"{_OCI}.index.v1+json", f"{_DOCKER}.list.v2+json")
_LAYER = re.compile(
    r"application/vnd\.(oci\.image\.layer\.v1\.tar|docker\.image\.rootfs\.diff\.tar)"
    r"(\+gzip|\+zstd|\.gzip|\.zstd)?"
)
_CONFIG_TYPES = (f"{_OCI}.config.v1+json", "application/vnd.docker.container.image.v1+json")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ATTESTATION = "unknown"  # buildkit's entries, which are no images

# `uname -m` by the names of Go, which registries use.
_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
}


@dataclass(frozen=True, kw_only=True)
class Platform:
    """An operating system and a processor, by Go's names."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """Something in a registry, by its digest."""

    media_type: str
    digest: str
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class ImageManifest:
    """An image for one platform."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    """The oldest first."""


@dataclass(frozen=True, kw_only=True)
class ImageIndex:
    """Manifests by platform, in the registry's order."""

    entries: tuple[tuple[Descriptor, Platform], ...]


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """What an image says of itself."""

    platform: Platform
    environment: tuple[str, ...]
    """Entries `NAME=value`."""
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    working_directory: str
    user: str
    diff_ids: tuple[str, ...]
    """Digests of the uncompressed layers."""


def this_platform() -> Platform:
    """Return this machine's platform."""
    machine = platform.machine()
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform(os="linux", architecture=architecture, variant=variant)


def is_digest(text: str) -> bool:
    """Say whether a text is a digest of the one kind that registries use."""
    return _DIGEST.fullmatch(text) is not None


def parse_manifest(document: bytes, media_type: str) -> ImageManifest | ImageIndex:
    """Parse a manifest or an index; `media_type` is the registry's word for it.

    Raises InvalidImage for what is neither, or an image that cannot be run, saying what it is.
    """
    content = _object(_json(document, "manifest"), "manifest")
    version = content.get("schemaVersion")
    if version == 1:
        raise InvalidImage(
            "the image has the old manifest format (schema 1)", "have it pushed again by any tool"
        )
    kind = str(content.get("mediaType") or media_type.partition(";")[0].strip())
    if kind in INDEX_TYPES or (kind not in MANIFEST_TYPES and "manifests" in content):
        entries = (_object(entry, "manifest") for entry in _array(content, "manifests"))
        return ImageIndex(entries=tuple((_descriptor(e), _entry_platform(e)) for e in entries))
    config = _descriptor(_object(content.get("config"), "config"))
    if config.media_type not in _CONFIG_TYPES:
        raise InvalidImage(
            f"it is no container image but {config.media_type or 'something else'}",
            "name an image that Docker could run",
        )
    layers = [_object(layer, "layer") for layer in _array(content, "layers")]
    return ImageManifest(config=config, layers=tuple(_layer(layer) for layer in layers))


def choose_platform(index: ImageIndex, wanted: Platform) -> Descriptor:
    """Return the manifest for a platform, that of the exact variant first.

    Raises ImageError naming the platforms that there are.
    """
    images = [entry for entry in index.entries if entry[1].os != _ATTESTATION]
    for variant in _variants(wanted):
        for descriptor, offered in images:
            if offered == Platform(os=wanted.os, architecture=wanted.architecture, variant=variant):
                return descriptor
    offers = sorted({str(offered) for _, offered in images})
    raise ImageError(
        f"there is no image for {wanted}, only for {', '.join(offers) or 'no platform'}",
        "run on such a machine, or find a tag for this one",
    )


def check_platform(config: ImageConfig, wanted: Platform) -> None:
    """Raise ImageError if an image is for another platform; one that names none is accepted."""
    offered = config.platform
    if (offered.os or wanted.os, offered.architecture or wanted.architecture) != (
        wanted.os,
        wanted.architecture,
    ):
        raise ImageError(
            f"the image is for {offered}, this machine is {wanted}",
            "run on such a machine, or find a tag for this one",
        )


def parse_config(document: bytes) -> ImageConfig:
    """Parse an image's configuration. Raises InvalidImage if it is malformed."""
    content = _object(_json(document, "configuration"), "configuration")
    process = _object(content.get("config") or {}, "config")
    file_system = _object(content.get("rootfs") or {}, "rootfs")
    return ImageConfig(
        platform=Platform(
            os=_text(content, "os"),
            architecture=_text(content, "architecture"),
            variant=_text(content, "variant"),
        ),
        environment=tuple(e for e in _texts(process, "Env") if e.partition("=")[0]),
        entrypoint=_texts(process, "Entrypoint"),
        command=_texts(process, "Cmd"),
        working_directory=_text(process, "WorkingDir"),
        user=_text(process, "User"),
        diff_ids=_texts(file_system, "diff_ids"),
    )


def _variants(wanted: Platform) -> Sequence[str]:
    """Variants that run on a machine, the best first (containerd's platforms package)."""
    if wanted.architecture == "arm" and wanted.variant:
        newest = int(wanted.variant[1:])
        return [*(f"v{number}" for number in range(newest, 4, -1)), ""]
    return (wanted.variant, "") if wanted.variant else ("", "v1")


def _layer(content: Mapping[str, Any]) -> Descriptor:
    descriptor = _descriptor(content)
    if content.get("urls") or "foreign" in descriptor.media_type:
        raise InvalidImage(
            "the image has layers that its registry may not distribute", "such images do not run"
        )
    if not _LAYER.fullmatch(descriptor.media_type):
        raise InvalidImage(
            f"a layer is no file system but {descriptor.media_type or 'something else'}",
            "name an image that Docker could run",
        )
    return descriptor


def _entry_platform(content: Mapping[str, Any]) -> Platform:
    fields = _object(content.get("platform") or {}, "platform")
    return Platform(
        os=_text(fields, "os"),
        architecture=_text(fields, "architecture"),
        variant=_text(fields, "variant"),
    )


def _descriptor(content: Mapping[str, Any]) -> Descriptor:
    digest, size = _text(content, "digest"), content.get("size")
    # A digest becomes part of a path in the store, so nothing else may pass.
    if not is_digest(digest):
        raise InvalidImage(f"{digest!r} is no sha256 digest", "the manifest is malformed")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise InvalidImage(f"{size!r} is no size of {digest}", "the manifest is malformed")
    return Descriptor(media_type=_text(content, "mediaType"), digest=digest, size=size)


def _json(document: bytes, what: str) -> Any:
    try:
        return json.loads(document)
    except (ValueError, RecursionError) as error:
        raise InvalidImage(f"the {what} is not JSON", "the registry is not in order") from error


def _object(content: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise InvalidImage(f"the {what} is malformed", "the image cannot be used")
    return content


def _array(content: Mapping[str, Any], name: str) -> list[Any]:
    array = content.get(name) or []
    if not isinstance(array, list):
        raise InvalidImage(f"{name} is no list", "the image cannot be used")
    return array


def _text(content: Mapping[str, Any], name: str) -> str:
    text = content.get(name) or ""
    if not isinstance(text, str):
        raise InvalidImage(f"{name} is no text", "the image cannot be used")
    return text


def _texts(content: Mapping[str, Any], name: str) -> tuple[str, ...]:
    array = _array(content, name)
    if not all(isinstance(text, str) for text in array):
        raise InvalidImage(f"{name} is no list of texts", "the image cannot be used")
    return tuple(cast("list[str]", array))
