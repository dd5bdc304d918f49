# SPDX-License-Identifier: Apache-2.0
"""Downloads files from web servers, whole or not at all, with reasons when they refuse."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import mimetypes
import os
import posixpath
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import requests
from rich.filesize import decimal

from cwl_udss.errors import DownloadError
from cwl_udss.machine.waiting import told
from cwl_udss.web.addresses import without_password
from cwl_udss.web.asking import (
    ATTEMPTS,
    NETWORK_ERRORS,
    TIMEOUTS,
    answered,
    innermost,
    wait,
)

_logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 18
_PATIENCE_SECONDS = 60.0
_SLOWEST_RATE = 1 << 10
"""Bytes a second. A server that sends a byte now and then never runs into a time-out."""
_COMPRESSED = (".gz", ".bgz", ".tgz", ".bz2", ".xz", ".zst", ".Z")


class Refused(DownloadError):
    """The server has no such file, or not for us."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file that has come whole."""

    path: Path
    size: int
    checksum: str
    """As CWL has it: "sha1$…"; of the algorithm that was asked for."""


def download(
    url: str,
    path: Path,
    *,
    algorithm: str = "sha1",
    sleep: Callable[[float], None] = time.sleep,
    patience: float = _PATIENCE_SECONDS,
) -> Download:
    """Download into a new file, which is there when it is whole. Raises DownloadError.

    `algorithm` is of the checksum. `patience` is for how many seconds next to nothing may come.
    """
    part = _Part(path.with_name(f"{path.name}.part"), algorithm)
    try:
        modified = _save_whole(url, part, sleep, patience)
        if modified is not None:
            os.utime(part.path, (modified, modified))
        part.path.rename(path)
    except OSError as error:
        raise DownloadError(
            f"{without_password(url)} cannot be written to {path.parent}: {error.strerror}",
            "make room there, or choose another place",
        ) from error
    finally:
        part.path.unlink(missing_ok=True)
    return Download(path=path, size=part.size, checksum=f"{algorithm}${part.checksum.hexdigest()}")


def beginning(url: str, size: int, *, sleep: Callable[[float], None] = time.sleep) -> bytes:
    """Return the first bytes of a file, if it has so many. Raises DownloadError."""
    # Who knows no ranges sends all of it, and is not listened to any more.
    with _answered(url, {"Range": f"bytes=0-{size - 1}"}, sleep) as response:
        found = b""
        try:
            for chunk in _body(response, _PATIENCE_SECONDS):
                found += chunk
                if len(found) >= size:
                    break
        except NETWORK_ERRORS as error:
            raise _unreachable(url, error) from error
        return found[:size]


class _Part:
    """What has come of a file until now."""

    def __init__(self, path: Path, algorithm: str) -> None:
        self.path = path
        self._algorithm = algorithm
        self._state = ""
        self._restart()

    def headers(self) -> dict[str, str]:
        """What asks for the rest only, if the file is still the one that has begun to come
        (RFC 9110, 13.1.5)."""
        if not self.size or not self._state:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self._state}

    def save(self, response: requests.Response, patience: float) -> None:
        """Write what an answer brings. Raises a NETWORK_ERROR if it ends early."""
        if response.status_code == requests.codes.partial_content:
            place = response.headers.get("Content-Range", "")
            if not place.startswith(f"bytes {self.size}-"):
                self._state = ""
                raise requests.ConnectionError(f"{place!r} came for what begins at {self.size}")
        else:
            self._restart()
            self._state = _state(response)
        with self.path.open("ab") as stream:
            for chunk in _body(response, patience):
                stream.write(chunk)
                self.checksum.update(chunk)
                self.size += len(chunk)

    def _restart(self) -> None:
        self.path.unlink(missing_ok=True)
        self.checksum = hashlib.new(self._algorithm, usedforsecurity=False)
        self.size = 0


def _state(response: requests.Response) -> str:
    """What a server tells this content from any other by; "" if it does not, or what comes is not
    the file's bytes."""
    headers = response.headers
    if headers.get("Content-Encoding", "identity") != "identity":
        return ""
    tag = headers.get("ETag", "")
    if tag:
        return "" if tag.startswith("W/") else tag
    # Of two contents within a second nothing tells (RFC 9110, 8.8.2.2).
    changed, now = (_time(headers.get(name, "")) for name in ("Last-Modified", "Date"))
    is_told = changed is not None and now is not None and now - changed >= 1
    return headers["Last-Modified"] if is_told else ""


def _save_whole(
    url: str, part: _Part, sleep: Callable[[float], None], patience: float
) -> float | None:
    """Write the file, going on where it breaks off if the server can; return its time."""
    attempt = 0
    while True:
        attempt += 1
        before = part.size
        with _answered(url, part.headers(), sleep) as response:
            _announce(url, response)
            try:
                with told(f"until all of {without_password(url)} is here"):
                    part.save(response, patience)
                    return _time(response.headers.get("Last-Modified", ""))
            except NETWORK_ERRORS as error:
                if part.headers() and part.size - before >= _CHUNK_BYTES:
                    attempt = 1  # it does come, in pieces
                if attempt == ATTEMPTS:
                    raise _broken(url, error) from error
        wait(attempt, {}, sleep)


@contextlib.contextmanager
def _answered(
    url: str, headers: Mapping[str, str], sleep: Callable[[float], None]
) -> Iterator[requests.Response]:
    """Yield an answer that has the file, or the part of it that was asked for."""
    # Proxies and .netrc are heeded. What is compressed there must come so, and nothing else.
    sent = {"User-Agent": "cwl-udss", "Accept-Encoding": "identity", **headers}
    expected = (requests.codes.ok, *((requests.codes.partial_content,) if headers else ()))

    def ask() -> requests.Response:
        with told(f"for an answer to {without_password(url)}"):
            return requests.get(url, headers=sent, stream=True, timeout=TIMEOUTS)

    with answered(
        ask,
        refused=lambda response: _refused(url, response),
        unreachable=lambda error: _unreachable(url, error),
        sleep=sleep,
    ) as response:
        if response.status_code not in expected:  # 202: not ready; 204: nothing
            raise _refused(url, response)
        yield response


def _announce(url: str, response: requests.Response) -> None:
    """Say what is coming, and what speaks against its being what was asked for."""
    shown, length = without_password(url), response.headers.get("Content-Length", "")
    _logger.info("downloading %s%s", shown, f" ({decimal(int(length))})" if length else "")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    name = posixpath.basename(urlsplit(url).path)
    if kind == "text/html" and mimetypes.guess_type(name)[0] != kind and "." in name:
        _logger.warning(
            "%s comes as a web page (text/html): is it the file, or a page to log in or to say "
            "that something is wrong?",
            shown,
        )


def _body(response: requests.Response, patience: float) -> Iterator[bytes]:
    """Yield the bytes of the file. Raises a NETWORK_ERROR if it ends early, or comes in drips."""
    raw = response.raw
    # Some servers say of a .gz that it is a text compressed for the way (Apache's AddEncoding);
    # others do compress, unasked.
    urls = (response.url, *(earlier.url for earlier in response.history))
    decode = not any(urlsplit(url).path.endswith(_COMPRESSED) for url in urls)
    since, before = time.monotonic(), 0
    while chunk := raw.read1(_CHUNK_BYTES, decode_content=decode):
        yield chunk
        seconds = time.monotonic() - since
        if seconds >= patience:
            if raw.tell() - before < _SLOWEST_RATE * seconds:
                raise requests.Timeout(f"{raw.tell() - before} bytes in {seconds:.0f} s")
            since, before = time.monotonic(), raw.tell()
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and raw.tell() != int(length):
        raise requests.ConnectionError(f"{raw.tell()} bytes came of {length}")


def _time(text: str) -> float | None:
    with contextlib.suppress(ValueError, TypeError):
        return parsedate_to_datetime(text).timestamp()
    return None


def _refused(url: str, response: requests.Response) -> DownloadError:
    status = response.status_code
    reason = f"{status} {response.reason}"
    if status in _ADVICE:
        return _failed(url, reason, _ADVICE[status], Refused)
    return _failed(url, reason, "try again later, or download it yourself and name that file")


_ADVICE = {
    401: "it needs a login: write that into ~/.netrc, or download it yourself and name that file",
    403: "look whether the URL has expired, or download it yourself and name that file",
    404: "look for a misspelling",
    410: "look where it is now",
}


def _unreachable(url: str, error: Exception) -> DownloadError:
    if isinstance(error, requests.TooManyRedirects):
        return _failed(url, "the server redirects without end", "look at the URL")
    reason = innermost(error)
    if isinstance(error, requests.exceptions.SSLError):
        return _failed(
            url,
            f"its server cannot be trusted, {reason}",
            "REQUESTS_CA_BUNDLE names the authorities that are trusted",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return _failed(
            url,
            f"the proxy does not work, {reason}",
            "look at HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
        )
    return _failed(url, reason, "look at the URL and the network")


def _failed(
    url: str, reason: str, advice: str, kind: type[DownloadError] = DownloadError
) -> DownloadError:
    return kind(f"{without_password(url)} cannot be downloaded: {reason}", advice)


def _broken(url: str, error: Exception) -> DownloadError:
    return DownloadError(
        f"{without_password(url)} does not come whole in {ATTEMPTS} attempts: {innermost(error)}",
        "try again later, or download it yourself and name that file",
    )
