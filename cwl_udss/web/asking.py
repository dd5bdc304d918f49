# SPDX-License-Identifier: Apache-2.0
"""Asks web servers, registries too: again while they are busy, or do not answer."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import urllib3

from cwl_udss.errors import UdssError
from cwl_udss.machine.waiting import told

ATTEMPTS = 5
TIMEOUTS = (10, 60)  # to connect, and between two pieces of an answer, in seconds
NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)
_LONGEST_WAIT_SECONDS = 60.0
_PASSING = (408, 429, 500, 502, 503, 504)


@contextlib.contextmanager
def answered(
    ask: Callable[[], requests.Response],
    *,
    refused: Callable[[requests.Response], UdssError],
    unreachable: Callable[[Exception], UdssError],
    sleep: Callable[[float], None],
) -> Iterator[requests.Response]:
    """Yield the answer to a request, which is repeated while the server says that it is busy."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            response = ask()
        except NETWORK_ERRORS as error:
            if attempt == ATTEMPTS or _is_final(error):
                raise unreachable(error) from error
            wait(attempt, {}, sleep)
            continue
        with response:
            if 200 <= response.status_code < 300:
                yield response
                return
            if response.status_code not in _PASSING or attempt == ATTEMPTS:
                raise refused(response)
            wait(attempt, response.headers, sleep)


def wait(attempt: int, headers: Mapping[str, str], sleep: Callable[[float], None]) -> None:
    """Wait as long as the server asks, or a while that doubles, with a random part so that
    a cluster's nodes do not come back all at once."""
    seconds = _retry_after(headers.get("Retry-After", ""))
    if seconds is None:
        seconds = 2.0 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311
    with told("before a server that was busy, or did not answer, is asked again"):
        sleep(min(seconds, _LONGEST_WAIT_SECONDS))


def innermost(error: BaseException) -> str:
    """Return the cause of a failed request, without the addresses of the objects around it."""
    current: Any = error
    while True:
        inner = getattr(current, "reason", None) or current.__cause__
        if inner is None and current.args and isinstance(current.args[0], BaseException):
            inner = current.args[0]
        if not isinstance(inner, BaseException):
            return str(current).rpartition(">: ")[2] or type(current).__name__
        current = inner


def _is_final(error: Exception) -> bool:
    """Tell what another attempt does not change: no such host, nobody listening, no trust."""
    text = innermost(error)
    final = ("Name or service not known", "Connection refused", "No address associated")
    kinds = (
        requests.exceptions.SSLError,
        requests.TooManyRedirects,
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
    )
    return isinstance(error, kinds) or any(part in text for part in final)


def _retry_after(text: str) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date (RFC 9110)."""
    if text.isdecimal():
        return float(text)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None
