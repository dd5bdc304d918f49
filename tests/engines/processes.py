# SPDX-License-Identifier: Apache-2.0
"""Where processes are: outside of containers, or in one."""

from __future__ import annotations

from pathlib import Path

import psutil

OUTSIDE = Path(__file__)
"""A file that no container is given."""
WHERE = f"if test -e '{OUTSIDE}'; then echo outside; else echo contained; fi"
"""What has a shell say where it is."""


def sleeping(seconds: str) -> list[int]:
    """The processes that are a sleep of so many seconds."""
    processes = psutil.process_iter(["cmdline", "pid"])
    return [each.pid for each in processes if each.info["cmdline"] == ["sleep", seconds]]
