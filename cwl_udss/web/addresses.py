# SPDX-License-Identifier: Apache-2.0
"""What URLs say, for those who ask nobody: what asks is slow to import."""

from __future__ import annotations

import re


def is_remote(location: str) -> bool:
    """Tell whether a location is on a web server."""
    return location.lower().startswith(("http://", "https://"))


def without_password(url: str) -> str:
    """Return a URL as it may be shown to others."""
    return re.sub("(?<=://)[^/?#]*@", "", url)
