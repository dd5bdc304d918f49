# SPDX-License-Identifier: Apache-2.0
"""Finds the image for a platform behind a manifest: itself, or in the lists that it may be.

The same for registries and for layouts in files; what these are is in two functions that read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from cwl_udss.errors import ImageError, InvalidImage, MissingPart, NoContainerImage
from cwl_udss.images.manifests.artifacts import CONFIG_TYPES, NO_CONFIG
from cwl_udss.images.manifests.manifest import (
    Descriptor,
    ImageConfig,
    ImageIndex,
    ImageManifest,
    IndexEntry,
    Platform,
    check_platform,
    parse_config,
    parse_image_config,
    parse_manifest,
)
from cwl_udss.images.manifests.schema1 import Schema1Manifest

# Of lists: what is honest is an index in an index, with two documents for each of its images.
_DEEPEST = 4
_MOST_DOCUMENTS = 100


@dataclass(frozen=True, kw_only=True)
class Documents:
    """Where documents come from, checked against their digests."""

    manifest: Callable[[str], bytes]
    """Gives a manifest by its digest."""
    config: Callable[[Descriptor], bytes]


@dataclass(frozen=True, kw_only=True)
class ChosenImage:
    """An image for the platform."""

    digest: str
    """Of its manifest."""
    layers: tuple[Descriptor, ...]
    """The oldest first."""
    diff_ids: tuple[str, ...] | None
    """Digests of the uncompressed layers; None if nothing says them."""
    config: ImageConfig
    config_document: bytes
    """b"" of a file that has it in itself."""
    file_type: str = ""
    """If its one layer is a file with a root filesystem in it: what its maker calls that."""


def choose_image(
    document: bytes, digest: str, documents: Documents, wanted: Platform
) -> ChosenImage:
    """Return the image for a platform that a manifest is or lists.

    Raises ImageError, naming the platforms that there are if none is the right one.
    """
    search = _Search(documents, wanted)
    manifest = parse_manifest(document)
    if not isinstance(manifest, ImageIndex):
        image = search.image(manifest, digest)
        check_platform(image.config, wanted)
        return image
    found = search.images(manifest)
    first = next(found, None)
    if first is None:
        raise search.nothing()
    # Of an image that is there in layers and as a file the layers: these say all of it.
    return next((image for image in chain([first], found) if not image.file_type), first)


def choose_from_layout(index: bytes, documents: Documents, wanted: Platform) -> ChosenImage:
    """Return the image for a platform in a layout's index.json, which may list several images
    as well as several platforms of one. Raises ImageError, also if there is no telling which."""
    manifest = parse_manifest(index)
    if not isinstance(manifest, ImageIndex) or not manifest.entries:
        raise InvalidImage("its index lists no images", "save one into it")
    search = _Search(documents, wanted)
    for alike in search.candidates(manifest):
        found = [image for entry in alike if (image := next(search.behind(entry), None))]
        found = [image for image in found if not image.file_type] or found
        if len(found) > 1:
            raise InvalidImage(f"it holds {len(found)} images", "save one only")
        if found:
            return found[0]
    raise search.nothing()


def candidates(index: ImageIndex, wanted: Platform) -> list[list[IndexEntry]]:
    """Return the entries for a platform in groups of one variant, the best first; and as the last
    group those that do not say enough to tell (image-spec image-index.md: `platform` is
    optional)."""
    named = [
        [entry for entry in index.entries if entry.platform == replace(wanted, variant=variant)]
        for variant in variants(wanted)
    ]
    unnamed = [entry for entry in index.entries if _is_silent(entry.platform, wanted)]
    return [*named, unnamed]


def variants(wanted: Platform) -> Sequence[str]:
    """Return variants that run on a machine, the best first (containerd's platforms package)."""
    if wanted.architecture == "arm" and wanted.variant:
        newest = int(wanted.variant[1:])
        return [*(f"v{number}" for number in range(newest, 4, -1)), ""]
    return (wanted.variant, "") if wanted.variant else ("", "v1")


class _Search:
    """One look for an image: what is wanted, and what was found instead."""

    def __init__(self, documents: Documents, wanted: Platform) -> None:
        self._documents = documents
        self._wanted = wanted
        self._left = _MOST_DOCUMENTS
        self._offers: set[str] = set()
        self._missing: list[MissingPart] = []
        self._others: list[NoContainerImage] = []

    def images(self, index: ImageIndex, depth: int = 1) -> Iterator[ChosenImage]:
        """Yield what runs on the platform, the best first."""
        *named, unnamed = self.candidates(index)
        for alike in named:
            for entry in alike:
                yield from self.behind(entry, depth)
        found = [image for entry in unnamed for image in self.behind(entry, depth)]
        best = list(variants(self._wanted))
        yield from sorted(found, key=lambda image: _rank(image.config.platform.variant, best))

    def candidates(self, index: ImageIndex) -> list[list[IndexEntry]]:
        """Return the entries to look behind (see there); what the others are for is noted."""
        found = candidates(index, self._wanted)
        others = set(index.entries).difference(*found)
        self._offers.update(str(entry.platform) for entry in others)
        return found

    def behind(self, entry: IndexEntry, depth: int = 1) -> Iterator[ChosenImage]:
        """Yield the image that an entry is, or those that it lists, if they run on the platform.

        What a list says of an image may be wrong or absent: its own configuration decides.
        """
        try:
            manifest = parse_manifest(self._read(lambda: self._documents.manifest(entry.digest)))
            if isinstance(manifest, ImageIndex):
                if depth == _DEEPEST:
                    raise InvalidImage("it is a list of lists of images", "name one of these")
                yield from self.images(manifest, depth + 1)
                return
            image = self.image(manifest, entry.digest)
        except MissingPart as error:
            self._missing.append(error)
        except NoContainerImage as error:
            self._others.append(error)
        else:
            if _runs(image.config.platform, entry.platform, self._wanted):
                yield image
            else:
                self._offers.add(str(image.config.platform))

    def image(self, manifest: ImageManifest | Schema1Manifest, digest: str) -> ChosenImage:
        """Return the image of a manifest, with its configuration."""
        if isinstance(manifest, Schema1Manifest):
            return _schema_1_image(manifest, digest)
        if manifest.is_file and manifest.config.media_type not in CONFIG_TYPES:
            return _file_image(manifest, digest, b"{}")
        document = self._read(lambda: self._documents.config(manifest.config))
        try:
            config = parse_image_config(document, manifest)
        except NoContainerImage:
            if not manifest.may_be_file:
                raise
            # `oras push --artifact-platform` has nothing but the machine in it.
            return _file_image(manifest, digest, document)
        # Those of SquashFS files are what these files are, which their digests say.
        has_squashfs = any(layer.is_squashfs for layer in manifest.layers)
        return ChosenImage(
            digest=digest,
            layers=manifest.layers,
            diff_ids=None if has_squashfs else config.diff_ids,
            config=config,
            config_document=document,
            file_type=_file_type(manifest) if manifest.is_file else "",
        )

    def nothing(self) -> ImageError:
        """What to raise when there was no image."""
        for error in self._missing:  # which may be the one that was wanted
            return error
        if self._offers:
            return ImageError(
                f"there is no image for {self._wanted}, only for {', '.join(sorted(self._offers))}",
                "run on such a machine, or find a tag for this one",
            )
        for other in self._others:
            return other
        return InvalidImage("it is a list in which there is no image", "find another tag")

    def _read(self, read: Callable[[], bytes]) -> bytes:
        if not self._left:
            raise InvalidImage(
                f"it lists more images than are looked through ({_MOST_DOCUMENTS} documents)",
                "name the one for this machine by its digest",
            )
        self._left -= 1
        return read()


def _is_silent(offered: Platform, wanted: Platform) -> bool:
    """Whether a platform lacks a part, and what it has is right."""
    return not (offered.os and offered.architecture) and offered.may_be(wanted)


def _runs(actual: Platform, said: Platform, wanted: Platform) -> bool:
    """Whether an image runs on a platform; its variant counts if the list has said none."""
    return actual.may_be(wanted) and (
        not _is_silent(said, wanted) or actual.variant in variants(wanted)
    )


def _rank(variant: str, best: Sequence[str]) -> int:
    return best.index(variant) if variant in best else len(best)


def _file_image(manifest: ImageManifest, digest: str, document: bytes) -> ChosenImage:
    """An image that is one file, of which nothing else says how it is run."""
    try:
        config = parse_config(document)
    except InvalidImage:  # that of no image may be anything
        config = parse_config(b"{}")
    return ChosenImage(
        digest=digest,
        layers=manifest.layers,
        diff_ids=None,
        config=config,
        config_document=b"",
        file_type=_file_type(manifest),
    )


def _file_type(manifest: ImageManifest) -> str:
    types = (manifest.artifact_type, manifest.config.media_type, manifest.layers[0].media_type)
    return next((each for each in types if each not in ("", NO_CONFIG)), "something else")


def _schema_1_image(manifest: Schema1Manifest, digest: str) -> ChosenImage:
    config = parse_config(manifest.config_document)
    if not config.platform.architecture:
        named = replace(config.platform, architecture=manifest.architecture)
        config = replace(config, platform=named)
    return ChosenImage(
        digest=digest,
        layers=tuple(
            Descriptor(media_type="", digest=layer, size=None) for layer in manifest.layers
        ),
        diff_ids=None,
        config=config,
        config_document=manifest.config_document,
    )
