# SPDX-License-Identifier: Apache-2.0
"""Talks to one registry server, in the language of the OCI distribution-spec.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import requests
import urllib3

from cwl_udss.errors import InvalidImage, NotFound, RegistryError
from cwl_udss.images.manifests.manifest import (
    INDEX_TYPES,
    LARGEST_DOCUMENT,
    MANIFEST_TYPES,
    Descriptor,
)
from cwl_udss.images.manifests.schema1 import SCHEMA_1_TYPES, signed_payload
from cwl_udss.images.sources.registry.authentication import Authentication
from cwl_udss.images.sources.registry.credentials import Credentials
from cwl_udss.images.sources.registry.refusals import (
    lacks,
    lacks_blob,
    refusal,
    unreachable,
)
from cwl_udss.images.sources.registry.registries import Endpoint
from cwl_udss.machine.waiting import told, told_each
from cwl_udss.web.asking import ATTEMPTS, NETWORK_ERRORS, TIMEOUTS, answered, wait

_CHUNK_BYTES = 1 << 18
_LARGEST_LAYER = 1 << 38  # where no manifest says how large it is
# The old format last: some registries send the first that they can.
_ACCEPT = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES, *SCHEMA_1_TYPES))


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

    def manifest(self, identifier: str) -> tuple[bytes, str]:
        """Return a manifest and its digest, by tag or digest.

        Raises NotFound, RegistryError, or InvalidImage if it does not match its digest.
        """
        missing = NotFound(
            f"{self._endpoint.name} has no such image or tag",
            "look for a misspelling, or for its tags",
        )
        return self._manifest(identifier, missing)

    def listed_manifest(self, digest: str) -> bytes:
        """Return a manifest that another one lists. Raises as manifest(), but MissingPart."""
        return self._manifest(digest, lacks(self._endpoint, f"the manifest {digest}"))[0]

    def _manifest(self, identifier: str, missing: RegistryError) -> tuple[bytes, str]:
        for attempt in range(1, ATTEMPTS + 1):
            headers = {"Accept": _ACCEPT}
            try:
                with self._get(f"manifests/{identifier}", headers, missing) as response:
                    document = _limited(response, self._told)
                    declared = response.headers.get("Docker-Content-Digest", "")
                    break
            except NETWORK_ERRORS as error:  # in the middle of the answer
                if attempt == ATTEMPTS:
                    raise unreachable(self._endpoint, error) from error
                wait(attempt, {}, self._sleep)
        beginning = document.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
        if beginning != b"{":
            raise RegistryError(
                f"{self._endpoint.registry} answers for {self._endpoint.repository} with "
                + ("a web page" if beginning == b"<" else "what is no manifest"),
                "look for a misspelling, or for a proxy that wants a login",
            )
        self._check_digest(document, identifier if ":" in identifier else declared)
        payload = signed_payload(document)
        return payload, f"sha256:{hashlib.sha256(payload).hexdigest()}"

    def document(self, descriptor: Descriptor) -> bytes:
        """Return a small blob. Raises RegistryError or InvalidImage."""
        if descriptor.size is None or descriptor.size > LARGEST_DOCUMENT:
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
        limit = _LARGEST_LAYER if descriptor.size is None else descriptor.size
        while received < limit:
            try:
                for chunk in self._blob_from(descriptor, received):
                    received += len(chunk)
                    if received > limit:
                        raise _wrong_size(descriptor, "longer")
                    checksum.update(chunk)
                    yield chunk
                    failures = 0
                if descriptor.size is None:
                    break
                if received < descriptor.size:
                    raise requests.ConnectionError(f"ended after {received} bytes")
            except NETWORK_ERRORS as error:
                failures += 1
                if failures == ATTEMPTS:
                    raise unreachable(self._endpoint, error) from error
                wait(failures, {}, self._sleep)
        if f"sha256:{checksum.hexdigest()}" != descriptor.digest:
            raise InvalidImage(
                f"blob {descriptor.digest} does not match its digest",
                f"try again; if it stays so, ask who runs {self._endpoint.registry}",
            )

    def _blob_from(self, descriptor: Descriptor, start: int) -> Iterator[bytes]:
        """The rest of a blob; what a server that knows no ranges sends again is left out."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        missing = lacks_blob(self._endpoint, descriptor)
        received = start
        with self._get(f"blobs/{descriptor.digest}", headers, missing) as response:
            skip = start if response.status_code != requests.codes.partial_content else 0
            stream = response.raw.stream(_CHUNK_BYTES, decode_content=False)

            def what() -> str:
                return f"{self._told()}: {received} bytes have come"

            for chunk in told_each(stream, what):
                rest = chunk[skip:]
                skip -= len(chunk) - len(rest)
                if rest:
                    received += len(rest)
                    yield rest
            # An answer that says its length and was cut raises a network error before.
            is_whole = "Content-Length" in response.headers
            if is_whole and descriptor.size is not None and received < descriptor.size:
                raise _wrong_size(descriptor, "shorter")

    @contextlib.contextmanager
    def _get(
        self, path: str, headers: Mapping[str, str], missing: RegistryError
    ) -> Iterator[requests.Response]:
        """GET below the repository, repeated while the registry says that it is busy; `missing` is
        raised if it says that there is no such thing."""

        def refused(response: requests.Response) -> RegistryError:
            is_missing = response.status_code == requests.codes.not_found
            return missing if is_missing else refusal(self._endpoint, response)

        def ask() -> requests.Response:
            with told(self._told):
                return self._request(path, headers)

        with answered(
            ask,
            refused=refused,
            unreachable=partial(unreachable, self._endpoint),
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
        """Refuse a manifest that is not the one of its digest, by whichever kind of that it was
        named; the digest of one with signatures is that of what they are of."""
        algorithm, _, expected = named.partition(":")
        if algorithm not in ("sha256", "sha512"):
            return
        contents = (document, signed_payload(document))
        if expected not in (hashlib.new(algorithm, content).hexdigest() for content in contents):
            raise InvalidImage(
                f"the manifest from {self._endpoint.name} does not match the digest {named}",
                "try again; if it stays so, the registry or a proxy has changed it",
            )

    def _told(self) -> str:
        return f"for {self._endpoint.registry} to answer for {self._endpoint.repository}"


def _limited(response: requests.Response, what: Callable[[], str]) -> bytes:
    """The whole body, unless it is longer than any manifest."""
    document = b""
    for chunk in told_each(response.raw.stream(_CHUNK_BYTES, decode_content=True), what):
        document += chunk
        if len(document) > LARGEST_DOCUMENT:
            raise InvalidImage(
                f"the manifest has more than {LARGEST_DOCUMENT} bytes", "the image cannot be used"
            )
    return document


def _wrong_size(descriptor: Descriptor, comparison: str) -> InvalidImage:
    return InvalidImage(
        f"blob {descriptor.digest} is {comparison} than its manifest says",
        "the image is damaged: have it pushed again",
    )
