# SPDX-License-Identifier: Apache-2.0
"""Files by URL, for images that are not in a registry."""

from __future__ import annotations

from pathlib import Path

import requests

from cwl_udss.errors import ImageError

_TIMEOUT_SECONDS = 60  # between two pieces
_CHUNK_BYTES = 1 << 20


def download(url: str, path: Path) -> Path:
    """Download into a new file, and return that. Raises ImageError with the reason."""
    try:
        with requests.get(url, stream=True, timeout=_TIMEOUT_SECONDS) as response:
            response.raise_for_status()
            with path.open("xb") as stream:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    stream.write(chunk)
    except requests.RequestException as error:
        answer = error.response
        status = error if answer is None else f"{answer.status_code} {answer.reason}"
        raise ImageError(
            f"{url} cannot be downloaded: {status}", "look at the URL and the network"
        ) from error
    return path
