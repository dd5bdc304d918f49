# SPDX-License-Identifier: Apache-2.0
"""Finds an image in the registries: which server has it, and which of its manifests is for us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.errors import ImageError, NotFound, RegistryError
from cwl_udss.images.manifests.choice import ChosenImage, Documents, choose_image
from cwl_udss.images.manifests.manifest import Platform
from cwl_udss.images.reference import ImageReference
from cwl_udss.images.sources.registry.client import RegistryClient
from cwl_udss.images.sources.registry.credentials import find_credentials
from cwl_udss.images.sources.registry.registries import Registries
from cwl_udss.images.sources.source import Source


@dataclass(frozen=True, kw_only=True)
class RemoteImage:
    """An image in a registry, ready to be downloaded."""

    reference: ImageReference
    """Qualified."""
    image: ChosenImage
    client: RegistryClient

    @property
    def digest(self) -> str:
        """Of the manifest for this platform."""
        return self.image.digest

    @property
    def source(self) -> Source:
        """What it is converted from."""
        return Source(
            name=str(self.reference),
            digest=self.image.digest,
            layers=self.image.layers,
            diff_ids=self.image.diff_ids,
            config_document=self.image.config_document,
            read=self.client.blob,
            file_type=self.image.file_type,
        )


def find_image(
    reference: ImageReference,
    *,
    platform: Platform,
    registries: Registries,
    environment: Mapping[str, str],
    home: Path,
) -> RemoteImage:
    """Find an image for a platform, trying what a short name may stand for, and mirrors, in order.

    Raises ImageError; after several attempts the one that says most, with all that were tried.
    """
    failures: list[RegistryError] = []
    tried: list[str] = []
    for candidate in registries.qualify(reference):
        for endpoint in registries.endpoints(candidate):
            credentials = find_credentials(
                endpoint.registry, endpoint.repository, environment, home
            )
            try:
                client = RegistryClient(endpoint, credentials)
                return _image(candidate, client, platform)
            except RegistryError as error:
                failures.append(error)
                tried.append(f"{endpoint.registry}/{endpoint.repository}")
    raise _worst(failures, tried)


def _image(reference: ImageReference, client: RegistryClient, platform: Platform) -> RemoteImage:
    documents = Documents(manifest=client.listed_manifest, config=client.document)
    try:
        document, digest = client.manifest(reference.identifier)
        image = choose_image(document, digest, documents, platform)
    except RegistryError:
        raise
    except ImageError as error:
        raise type(error)(f"{reference}: {error.problem}", error.advice) from error
    return RemoteImage(reference=reference, image=image, client=client)


def _worst(failures: list[RegistryError], tried: list[str]) -> RegistryError:
    """The failure to report: of several, one that says more than that an image is not there."""
    telling = [error for error in failures if not isinstance(error, NotFound)] or failures
    error = telling[-1]
    if len(tried) == 1:
        return error
    others = ", ".join(dict.fromkeys(tried))
    problem = type(error)(f"{error.problem} (tried {others})", error.advice)
    problem.__cause__ = error
    return problem
