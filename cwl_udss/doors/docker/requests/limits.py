# SPDX-License-Identifier: Apache-2.0
"""What a container may use at most, in the words of docker-run(1)."""

from __future__ import annotations

import re

from cwl_udss.doors.docker.errors import UsageError

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def memory_limit(text: str | None) -> int | None:
    """Return the bytes that --memory means; None if there is no limit, which 0 means, too. Raises
    UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([bkmgt]?)(?:i?b)?", (text or "0").lower())
    if match is None:
        raise UsageError(f"--memory {text!r}: invalid size", "it must be as 512m or 1.5g")
    return int(float(match[1]) * _UNITS[match[2]]) or None


def cpu_limit(text: str | None) -> float | None:
    """Return the processors that --cpus means; None if there is no limit, which 0 means, too.
    Raises UsageError."""
    if not re.fullmatch(r"\d*\.?\d+", text or "0"):
        raise UsageError(f"--cpus {text!r}: failed to parse", "it must be a number, as 1.5")
    return float(text or 0) or None
