# SPDX-License-Identifier: Apache-2.0
"""Answers a registry's challenges, so that nobody else has to know of tokens.

The token protocol: https://distribution.github.io/distribution/spec/auth/token/ and …/oauth/.
"""

from __future__ import annotations

import base64
import re
import threading
from urllib.parse import urlsplit

import requests

from cwl_udss.errors import RegistryError
from cwl_udss.images.sources.registry.credentials import Credentials
from cwl_udss.images.sources.registry.registries import Endpoint

_TIMEOUTS = (10, 60)
_CHALLENGE = re.compile(r"(?P<scheme>\w+)\s+(?P<parameters>.*)", re.DOTALL)
_PARAMETER = re.compile(r'(\w+)="([^"]*)"|(\w+)=([^",\s]+)')


class Authentication(requests.auth.AuthBase):
    """Puts what the registry last asked for into each request (see requests' AuthBase).

    That requests are given one also keeps requests from looking into ~/.netrc.
    """

    def __init__(
        self, endpoint: Endpoint, credentials: Credentials | None, session: requests.Session
    ) -> None:
        self._endpoint = endpoint
        self._credentials = credentials
        self._session = session
        self._header: str | None = None
        self._lock = threading.Lock()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header, if there is one yet."""
        if self._header is not None:
            request.headers["Authorization"] = self._header
        return request

    def answer(self, response: requests.Response) -> bool:
        """Meet the challenge of a 401 answer; False if that cannot be done.

        Raises RegistryError if the token service refuses.
        """
        sent = response.request.headers.get("Authorization")
        with self._lock:
            if self._header != sent:  # another thread has met it already
                return True
            match = _CHALLENGE.match(response.headers.get("WWW-Authenticate", ""))
            scheme = match["scheme"].lower() if match else ""
            if match and scheme == "bearer":
                self._header = f"Bearer {self._token(match['parameters'])}"
                return True
            if scheme == "basic" and self._credentials is not None and sent is None:
                self._header = _basic(self._credentials)
                return True
            return False

    def _token(self, challenge: str) -> str:
        """Get a token from the service that a challenge names."""
        parameters = {
            name or bare_name: value or bare_value
            for name, value, bare_name, bare_value in _PARAMETER.findall(challenge)
        }
        realm = parameters.get("realm", "")
        if urlsplit(realm).scheme != "https" and not self._endpoint.insecure:
            raise RegistryError(
                f"{self._endpoint.registry} wants a password sent to {realm or 'nowhere'}",
                "without TLS it is not sent; ask who runs the registry",
            )
        query = {
            "service": parameters.get("service", ""),
            "scope": parameters.get("scope", f"repository:{self._endpoint.repository}:pull"),
        }
        try:
            response = self._ask(realm, query)
            content = response.json() if response.ok else {}
        except (requests.RequestException, ValueError) as error:
            raise RegistryError(
                f"the token service {realm} of {self._endpoint.registry} does not answer",
                "try again later",
            ) from error
        token = content.get("token") or content.get("access_token")
        if not isinstance(token, str):
            raise RegistryError(
                f"{self._endpoint.registry} gives no access to {self._endpoint.repository} "
                f"({response.status_code} from its token service)",
                f"type `podman login` or `docker login` for {self._endpoint.registry}",
            )
        return token

    def _ask(self, realm: str, query: dict[str, str]) -> requests.Response:
        credentials = self._credentials
        if credentials is not None and credentials.identity_token:
            form = {
                **query,
                "grant_type": "refresh_token",
                "client_id": "cwl-udss",
                "refresh_token": credentials.identity_token,
            }
            return self._session.post(
                realm,
                data=form,
                auth=_no_auth,
                timeout=_TIMEOUTS,
                verify=self._session.verify,
            )
        headers = {"Authorization": _basic(credentials)} if credentials else {}
        return self._session.get(
            realm,
            params=query,
            headers=headers,
            auth=_no_auth,
            timeout=_TIMEOUTS,
            verify=self._session.verify,
        )


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Leave a request as it is; without this requests looks into ~/.netrc."""
    return request


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
