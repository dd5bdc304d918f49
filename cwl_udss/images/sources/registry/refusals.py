# SPDX-License-Identifier: Apache-2.0
"""What a person is told of a registry that does not give what it was asked for."""

from __future__ import annotations

from urllib.parse import urlsplit

import requests
import urllib3

from cwl_udss.errors import AccessRefused, MissingPart, RegistryError
from cwl_udss.images.manifests.manifest import Descriptor
from cwl_udss.images.sources.registry.registries import Endpoint
from cwl_udss.web.asking import innermost


def lacks(endpoint: Endpoint, what: str) -> MissingPart:
    """Return what is raised for a part of an image that the registry should have."""
    return MissingPart(f"{endpoint.name} lacks {what}, which the image has", "have it pushed again")


def lacks_blob(endpoint: Endpoint, descriptor: Descriptor) -> MissingPart:
    """Return what is raised for a blob that the registry does not have."""
    if not descriptor.is_foreign:
        return lacks(endpoint, f"the blob {descriptor.digest}")
    hosts = sorted({urlsplit(url).netloc for url in descriptor.urls})
    return MissingPart(
        f"{endpoint.name} lacks the layer {descriptor.digest}, which it may not distribute"
        + (f" (only {', '.join(hosts)} may)" if hosts else ""),
        "layers come from the image's registry only: use an image that has all of its own",
    )


def refusal(endpoint: Endpoint, response: requests.Response) -> RegistryError:
    """Return what is raised for an answer that is a refusal."""
    status = response.status_code
    registry = endpoint.registry
    if status in (requests.codes.unauthorized, requests.codes.forbidden):
        return AccessRefused(
            f"{registry} gives no access to {endpoint.repository} ({status})",
            "look for a misspelling; if it is private, type `podman login` or `docker login` "
            f"for {registry}",
        )
    if status == requests.codes.too_many_requests:
        return RegistryError(
            f"{registry} has had too many requests from here (429)",
            "wait, or log in for a higher limit",
        )
    return RegistryError(
        f"{registry} answered {status} {response.reason} for {endpoint.repository}",
        "try again later",
    )


def unreachable(endpoint: Endpoint, error: Exception) -> RegistryError:
    """Return what is raised where no answer comes, or not all of one."""
    registry, repository = endpoint.registry, endpoint.repository
    if isinstance(error, requests.exceptions.SSLError):
        return RegistryError(
            f"{registry} cannot be trusted for {repository}: {innermost(error)}",
            "if it is a registry without TLS, say so in registries.conf: insecure = true",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return RegistryError(
            f"the proxy to {registry} does not work for {repository}: {innermost(error)}",
            "look at HTTPS_PROXY and NO_PROXY",
        )
    if isinstance(error, urllib3.exceptions.DecodeError):
        return RegistryError(
            f"{registry} sends what cannot be decompressed for {repository}",
            "try again later; if it stays so, ask who runs it, or a proxy on the way",
        )
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return RegistryError(
            f"{registry} does not answer to the end for {repository}: {innermost(error)}",
            "try again later",
        )
    return RegistryError(
        f"{registry} does not answer for {repository}: {innermost(error)}",
        "is there network on this machine? if not, pull the image where there is",
    )
