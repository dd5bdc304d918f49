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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import requests
from rich.filesize import decimal

from cwl_udss.errors import DownloadError
from cwl_udss.machine.waiting import told
from cwl_udss.web.asking import (
    ATTEMPTS,
    NETWORK_ERRORS,
    TIMEOUTS,
    answered,
    innermost,
    wait,
    without_password,
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
    """As CWL has it: "sha1$…"."""


def download(
    url: str,
    path: Path,
    *,
    sleep: Callable[[float], None] = time.sleep,
    patience: float = _PATIENCE_SECONDS,
) -> Download:
    """Download into a new file, which is there when it is whole. Raises DownloadError.

    `patience` is for how many seconds next to nothing may come.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        size, checksum, modified = _save_whole(url, part, sleep, patience)
        if modified is not None:
            os.utime(part, (modified, modified))
        part.rename(path)
    except OSError as error:
        raise DownloadError(
            f"{without_password(url)} cannot be written to {part.parent}: {error.strerror}",
            "make room there, or choose another place",
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return Download(path=path, size=size, checksum=checksum)


def _save_whole(
    url: str, path: Path, sleep: Callable[[float], None], patience: float
) -> tuple[int, str, float | None]:
    """Write the file, from its beginning again where it breaks off; return its size, checksum and
    time."""
    # Proxies and .netrc are heeded. What is compressed there must come so, and nothing else.
    headers = {"User-Agent": "cwl-udss", "Accept-Encoding": "identity"}

    def ask() -> requests.Response:
        with told(f"for an answer to {without_password(url)}"):
            return requests.get(url, headers=headers, stream=True, timeout=TIMEOUTS)

    attempt = 0
    while True:
        attempt += 1
        with answered(
            ask,
            refused=lambda response: _refused(url, response),
            unreachable=lambda error: _unreachable(url, error),
            sleep=sleep,
        ) as response:
            if response.status_code != requests.codes.ok:  # 202: not ready; 204: nothing
                raise _refused(url, response)
            _announce(url, response)
            try:
                with told(f"until all of {without_password(url)} is here"):
                    return *_save(response, path, patience), _modified(response)
            except NETWORK_ERRORS as error:
                if attempt == ATTEMPTS:
                    raise _broken(url, error) from error
        wait(attempt, {}, sleep)


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


def _save(response: requests.Response, path: Path, patience: float) -> tuple[int, str]:
    """Write the body; return its size and checksum."""
    checksum = hashlib.sha1(usedforsecurity=False)
    size = 0
    with path.open("wb") as stream:
        for chunk in _body(response, patience):
            stream.write(chunk)
            checksum.update(chunk)
            size += len(chunk)
    return size, f"sha1${checksum.hexdigest()}"


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


def _modified(response: requests.Response) -> float | None:
    with contextlib.suppress(ValueError, TypeError):
        return parsedate_to_datetime(response.headers.get("Last-Modified", "")).timestamp()
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
