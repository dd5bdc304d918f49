# SPDX-License-Identifier: Apache-2.0
"""What a registry says of an image: manifests, lists of them by platform, and configurations.

Pure: documents in, values out. The formats: OCI image-spec (manifest.md, image-index.md, config.md)
and Docker's image manifest version 2, schema 2. What is an image is decided by what is in it: there
are registries and tools that call it otherwise (moby issues 22378, 30083), and whose names are
those of something else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from cwl_udss.errors import ImageError, InvalidImage, NoContainerImage
from cwl_udss.images.manifests.artifacts import (
    CONFIG_TYPES,
    file_layer,
    is_image_type,
    is_squashfs,
    no_image,
)
from cwl_udss.images.manifests.documents import array, as_object, parse_object, text, texts
from cwl_udss.images.manifests.schema1 import (
    SCHEMA_1_TYPES,
    Schema1Manifest,
    is_schema_1,
    parse_schema_1,
)
from cwl_udss.records import record

LARGEST_DOCUMENT = 4 << 20  # of manifests: what containers/image and distribution accept

_OCI = "application/vnd.oci.image"
_DOCKER = "application/vnd.docker.distribution.manifest"
MANIFEST_TYPES = (f"{_OCI}.manifest.v1+json", f"{_DOCKER}.v2+json")
INDEX_TYPES = (f"{_OCI}.index.v1+json", f"{_DOCKER}.list.v2+json")
_FOREIGN = (".foreign.", ".nondistributable.")
_DIGEST = r"sha256:[0-9a-f]{64}"
OWN_WORDS = "io.github.cwl-udss.own-words"
"""A key of our own in the configuration of an image that may say more in files of its own."""
_UNKNOWN = "unknown"  # buildkit's platform for entries that are no images
_ATTESTATION = "vnd.docker.reference.type"  # buildkit, docs/attestations/attestation-storage.md
_RUNNABLE = "name an image that Docker could run"

# `uname -m` by the names of Go, which registries use.
_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
}
# What some tools write instead (containerd's platforms package, "normalizeArch").
_OTHER_NAMES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386"}


@record(frozen=True, kw_only=True)
class Platform:
    """An operating system and a processor, by Go's names."""

    os: str
    architecture: str
    variant: str = ""

    def may_be(self, wanted: Platform) -> bool:
        """Say whether it is for such a machine as far as it says; variants are not looked at."""
        return self.os in ("", wanted.os) and self.architecture in ("", wanted.architecture)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@record(frozen=True, kw_only=True)
class Descriptor:
    """Something in a registry, by its digest."""

    media_type: str
    digest: str
    size: int | None
    """Bytes; None if nothing says it beforehand."""
    urls: tuple[str, ...] = ()
    """Where else it is."""

    @property
    def is_foreign(self) -> bool:
        """Whether it is a layer that its registry need not have (image-spec layer.md,
        "Non-Distributable Layers")."""
        return bool(self.urls) or any(part in self.media_type for part in _FOREIGN)

    @property
    def is_squashfs(self) -> bool:
        """Whether it is a layer that is a SquashFS file, and no tar."""
        return is_squashfs(self.media_type)


@record(frozen=True, kw_only=True)
class ImageManifest:
    """An image for one platform."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    """The oldest first."""
    artifact_type: str
    """What it is if it is no image; "" if it does not say."""
    is_file: bool = False
    """Whether its one layer is a file with a root filesystem in it, and none that changes files."""

    @property
    def may_be_file(self) -> bool:
        """Whether that may be so if its configuration is none: who pushes a file with oras need not
        say what it is, and gets the type of a layer for it."""
        has_none = self.config.media_type not in CONFIG_TYPES
        return self.is_file or (has_none and len(self.layers) == 1)


@record(frozen=True, kw_only=True)
class IndexEntry:
    """A manifest or another index; parts of the platform are empty if nothing says them."""

    digest: str
    platform: Platform


@record(frozen=True, kw_only=True)
class ImageIndex:
    """Images, mostly by platform, in the registry's order; without what is there beside images."""

    entries: tuple[IndexEntry, ...]


Manifest = ImageManifest | ImageIndex | Schema1Manifest


@record(frozen=True, kw_only=True)
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
    has_own_words: bool = False
    """Whether the image may say more in files of its own (see in_place/own_words.py)."""


def this_platform() -> Platform:
    """Return this machine's platform."""
    machine = os.uname().machine  # the module `platform` is slow to import
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform(os="linux", architecture=architecture, variant=variant)


def is_digest(digest: str) -> bool:
    """Say whether a text is a digest of the one kind that registries use."""
    return re.fullmatch(_DIGEST, digest) is not None


def parse_manifest(document: bytes) -> Manifest:
    """Parse a manifest or an index.

    Raises NoContainerImage for what is something else, saying what it is, and InvalidImage.
    """
    content = parse_object(document, "manifest")
    if is_schema_1(content):
        image = parse_schema_1(content)
        for digest in image.layers:
            _check_digest(digest)
        return image
    # What can be read in two ways may be two images (CVE-2021-41190).
    has_parts = any(content.get(name) is not None for name in ("config", "layers"))
    if "manifests" in content and has_parts:
        raise InvalidImage("the manifest is both an image and a list", _RUNNABLE)
    kind = text(content, "mediaType")
    if "manifests" in content or kind in INDEX_TYPES:
        listed = (as_object(entry, "manifest") for entry in array(content, "manifests"))
        return ImageIndex(entries=tuple(_entry(entry) for entry in listed if _may_be_image(entry)))
    artifact_type = text(content, "artifactType")
    if "config" not in content and (artifact_type or kind not in (*MANIFEST_TYPES, "")):
        raise no_image(artifact_type, kind)
    config = _descriptor(as_object(content.get("config"), "config"))
    layers = [_descriptor(as_object(layer, "layer")) for layer in array(content, "layers")]
    file = file_layer(config.media_type, artifact_type, [layer.media_type for layer in layers])
    return ImageManifest(
        config=config,
        layers=tuple(layers) if file is None else (layers[file],),
        artifact_type=artifact_type,
        is_file=file is not None,
    )


def parse_image_config(document: bytes, manifest: ImageManifest) -> ImageConfig:
    """Parse the configuration that a manifest names.

    Raises NoContainerImage if it is not that of an image, and InvalidImage.
    """
    try:
        content = parse_object(document, "configuration")
        file_system = as_object(content.get("rootfs"), "rootfs")
        is_image = isinstance(file_system.get("diff_ids"), list) or not manifest.layers
    except InvalidImage:
        is_image = False
    if not is_image and manifest.config.media_type in CONFIG_TYPES:
        raise NoContainerImage("its configuration is not that of an image", _RUNNABLE)
    if not is_image:
        raise no_image(manifest.artifact_type, manifest.config.media_type)
    return parse_config(document)


def check_platform(config: ImageConfig, wanted: Platform) -> None:
    """Raise ImageError if an image is for another platform; one that names none is accepted."""
    if not config.platform.may_be(wanted):
        raise ImageError(
            f"the image is for {config.platform}, this machine is {wanted}",
            "run on such a machine, or find a tag for this one",
        )


def parse_config(document: bytes) -> ImageConfig:
    """Parse an image's configuration. Raises InvalidImage if it is malformed."""
    content = parse_object(document, "configuration")
    process = as_object(content.get("config") or {}, "config")
    file_system = as_object(content.get("rootfs") or {}, "rootfs")
    return ImageConfig(
        platform=_platform(content),
        environment=tuple(e for e in texts(process, "Env") if e.partition("=")[0]),
        entrypoint=_words(process, "Entrypoint"),
        command=_words(process, "Cmd"),
        working_directory=text(process, "WorkingDir"),
        user=text(process, "User"),
        diff_ids=texts(file_system, "diff_ids"),
        has_own_words=content.get(OWN_WORDS) is True,
    )


def _may_be_image(content: Mapping[str, Any]) -> bool:
    """Tell what an index has beside images: attestations, signatures, artifacts."""
    # That of an image is the type of its configuration (image-spec descriptor.md).
    kind, artifact_type = text(content, "mediaType"), text(content, "artifactType")
    offered = _platform(as_object(content.get("platform") or {}, "platform"))
    return (
        kind in ("", *MANIFEST_TYPES, *INDEX_TYPES, *SCHEMA_1_TYPES)
        and is_image_type(artifact_type)
        and _ATTESTATION not in as_object(content.get("annotations") or {}, "annotations")
        and _UNKNOWN not in (offered.os, offered.architecture)
    )


def _entry(content: Mapping[str, Any]) -> IndexEntry:
    offered = _platform(as_object(content.get("platform") or {}, "platform"))
    return IndexEntry(digest=_descriptor(content).digest, platform=offered)


def _platform(content: Mapping[str, Any]) -> Platform:
    architecture = text(content, "architecture").lower()
    return Platform(
        os=text(content, "os").lower(),
        architecture=_OTHER_NAMES.get(architecture, architecture),
        variant=text(content, "variant").lower(),
    )


def _words(content: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A command; old clients wrote one of a single word as a text (moby's strslice)."""
    word = content.get(name)
    return (word,) if isinstance(word, str) and word else texts(content, name)


def _descriptor(content: Mapping[str, Any]) -> Descriptor:
    digest, size = text(content, "digest"), content.get("size")
    _check_digest(digest)
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise InvalidImage(f"{size!r} is no size of {digest}", "the manifest is malformed")
    return Descriptor(
        media_type=text(content, "mediaType").partition(";")[0].strip().lower(),
        digest=digest,
        size=size,
        urls=texts(content, "urls"),
    )


def _check_digest(digest: str) -> None:
    """Refuse all but sha256: a digest becomes part of a path in the store, so no other text may
    pass, and no registry is known to use another kind."""
    if not is_digest(digest):
        raise InvalidImage(f"{digest!r} is no sha256 digest", "the image cannot be used")
