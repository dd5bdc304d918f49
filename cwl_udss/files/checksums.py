# SPDX-License-Identifier: Apache-2.0
"""Names of files by what they are about."""

from __future__ import annotations

from importlib import import_module


def name_of(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal digits."""
    # hashlib loads OpenSSL, in 3 ms. Python has these besides, and `random` takes them so, too.
    for module in ("_sha2", "_sha256", "hashlib"):
        try:
            sha256 = import_module(module).sha256
        except ImportError:
            continue
        digits: str = sha256(text.encode(errors="surrogateescape")).hexdigest()
        return digits
    raise AssertionError("hashlib is always there")
