# SPDX-License-Identifier: Apache-2.0
"""Talks to one registry server, in the language of the OCI distribution-spec.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping

import requests
import urllib3

from cwl_udss.errors import InvalidImage, RegistryError
from cwl_udss.images.authentication import Authentication
from cwl_udss.images.credentials import Credentials
from cwl_udss.images.manifest import INDEX_TYPES, LARGEST_DOCUMENT, MANIFEST_TYPES, Descriptor
from cwl_udss.images.registries import Endpoint
from cwl_udss.web import ATTEMPTS, NETWORK_ERRORS, TIMEOUTS, answered, innermost, wait

_CHUNK_BYTES = 1 << 18


class NotFound(RegistryError):
    """The registry has no such image."""


class RegistryClient:
    """A repository on a registry server; may be used by several threads."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials | None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._endpoint = endpoint
        self._sleep = sleep
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "cwl-udss"
        # Blobs are compressed already, and their bytes must arrive as they are.
        self._session.headers["Accept-Encoding"] = "identity"
        # Said with each request, too: REQUESTS_CA_BUNDLE overrides what a session says
        # (https://github.com/psf/requests/issues/3829).
        self._session.verify = not endpoint.insecure
        self._authentication = Authentication(endpoint, credentials, self._session)
        self._base: str | None = None

    def manifest(self, identifier: str) -> tuple[bytes, str, str]:
        """Return a manifest's document, media type and digest, by tag or digest.

        Raises NotFound, RegistryError, or InvalidImage if it does not match its digest.
        """
        accept = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
        with self._get(f"manifests/{identifier}", {"Accept": accept}) as response:
            document = _limited(response)
            digest = f"sha256:{hashlib.sha256(document).hexdigest()}"
            named = identifier if ":" in identifier else response.headers.get(_DIGEST_HEADER, "")
            self._check_digest(document, named or digest)
            return document, response.headers.get("Content-Type", ""), digest

    def document(self, descriptor: Descriptor) -> bytes:
        """Return a small blob. Raises RegistryError or InvalidImage."""
        if descriptor.size > LARGEST_DOCUMENT:
            raise InvalidImage(
                f"{descriptor.digest} has {descriptor.size} bytes", "no configuration has that many"
            )
        return b"".join(self.blob(descriptor))

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """Yield a blob's bytes as they are in the registry, resuming a broken connection.

        Raises InvalidImage, at the latest at the end, if they are not those of the digest.
        """
        checksum = hashlib.sha256()
        received = 0
        failures = 0
        while received < descriptor.size:
            try:
                for chunk in self._blob_from(descriptor, received):
                    received += len(chunk)
                    if received > descriptor.size:
                        raise _wrong(descriptor, "is longer than its manifest says")
                    checksum.update(chunk)
                    yield chunk
                    failures = 0
                if received < descriptor.size:
                    raise requests.ConnectionError(f"ended after {received} bytes")
            except NETWORK_ERRORS as error:
                failures += 1
                if failures == ATTEMPTS:
                    raise self._unreachable(error) from error
                wait(failures, {}, self._sleep)
        if f"sha256:{checksum.hexdigest()}" != descriptor.digest:
            raise _wrong(descriptor, "does not match its digest")

    def _blob_from(self, descriptor: Descriptor, start: int) -> Iterator[bytes]:
        """The rest of a blob; what a server that knows no ranges sends again is left out."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self._get(f"blobs/{descriptor.digest}", headers) as response:
            skip = start if response.status_code != requests.codes.partial_content else 0
            for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
                rest = chunk[skip:]
                skip -= len(chunk) - len(rest)
                if rest:
                    yield rest

    @contextlib.contextmanager
    def _get(self, path: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """GET below the repository, repeated while the registry says that it is busy."""
        with answered(
            lambda: self._request(path, headers),
            refused=self._refused,
            unreachable=self._unreachable,
            sleep=self._sleep,
        ) as response:
            yield response

    def _request(self, path: str, headers: Mapping[str, str]) -> requests.Response:
        url = f"{self._base_url()}/{self._endpoint.repository}/{path}"
        for renewed in (False, True):
            response = self._session.get(
                url,
                headers=headers,
                # requests takes the header away again when a redirect leads to another host.
                auth=self._authentication,
                stream=True,
                timeout=TIMEOUTS,
                verify=self._session.verify,
            )
            if response.status_code != requests.codes.unauthorized or renewed:
                break
            with response:
                if not self._authentication.answer(response):
                    return response
        return response

    def _base_url(self) -> str:
        """Where the API is; an insecure registry is asked once whether it speaks TLS."""
        if self._base is None:
            base = f"https://{self._endpoint.registry}/v2"
            if self._endpoint.insecure:
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
                try:
                    self._session.get(f"{base}/", timeout=TIMEOUTS, verify=False).close()
                except requests.ConnectionError:  # TLS errors are of this kind too
                    base = f"http://{self._endpoint.registry}/v2"
            self._base = base
        return self._base

    def _check_digest(self, document: bytes, named: str) -> None:
        algorithm, _, expected = named.partition(":")
        if algorithm not in ("sha256", "sha512"):
            return
        if hashlib.new(algorithm, document).hexdigest() != expected:
            raise InvalidImage(
                f"the manifest from {self._name} does not match the digest {named}",
                "the registry or something before it is not in order",
            )

    @property
    def _name(self) -> str:
        return f"{self._endpoint.registry}/{self._endpoint.repository}"

    def _refused(self, response: requests.Response) -> RegistryError:
        status = response.status_code
        registry = self._endpoint.registry
        if status == requests.codes.not_found:
            return NotFound(
                f"{self._name} has no such image or tag", "look for a misspelling, or for its tags"
            )
        if status in (requests.codes.unauthorized, requests.codes.forbidden):
            return RegistryError(
                f"{registry} gives no access to {self._endpoint.repository} ({status})",
                "look for a misspelling; if it is private, type `podman login` or `docker login` "
                f"for {registry}",
            )
        if status == requests.codes.too_many_requests:
            return RegistryError(
                f"{registry} has had too many requests from here (429)",
                "wait, or log in for a higher limit",
            )
        return RegistryError(
            f"{registry} answered {status} {response.reason} for {self._endpoint.repository}",
            "try again later",
        )

    def _unreachable(self, error: Exception) -> RegistryError:
        registry, repository = self._endpoint.registry, self._endpoint.repository
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
        return RegistryError(
            f"{registry} does not answer for {repository}: {innermost(error)}",
            "is there network on this machine? if not, pull the image where there is",
        )


_DIGEST_HEADER = "Docker-Content-Digest"


def _limited(response: requests.Response) -> bytes:
    """The whole body, unless it is longer than any manifest."""
    document = b""
    for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=True):
        document += chunk
        if len(document) > LARGEST_DOCUMENT:
            raise InvalidImage(
                f"the manifest has more than {LARGEST_DOCUMENT} bytes", "the image cannot be used"
            )
    return document


def _wrong(descriptor: Descriptor, problem: str) -> InvalidImage:
    return InvalidImage(
        f"blob {descriptor.digest} {problem}", "try again; then the registry is not in order"
    )
