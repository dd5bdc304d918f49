# SPDX-License-Identifier: Apache-2.0
"""Files by URL, for images that are not in a registry."""

from __future__ import annotations

from pathlib import Path

from cwl_udss.errors import DownloadError, ImageError
from cwl_udss.web import downloads as web


def download(url: str, path: Path) -> Path:
    """Download into a new file, and return that. Raises ImageError with the reason."""
    try:
        return web.download(url, path).path
    except DownloadError as error:
        raise ImageError(error.problem, error.advice) from error
