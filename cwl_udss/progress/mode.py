# SPDX-License-Identifier: Apache-2.0
"""Whether a run is shown as a table, as lines, or by its log alone."""

from __future__ import annotations

import contextlib
import enum
import os
from collections.abc import Mapping


class Mode(enum.Enum):
    """What a person sees of a run."""

    TABLE = enum.auto()
    """On a terminal; the log goes to a file."""
    LINES = enum.auto()
    """Instead of the log, which goes to a file."""
    LOG_AND_LINES = enum.auto()
    LOG = enum.auto()


def choose_mode(wanted: str, *, is_terminal: bool, wants_log: bool) -> Mode:
    """Return it; `wanted` is the setting, `auto`, `yes` or `no`, and `wants_log` whether another
    option says how much of a log there is to be."""
    if wanted == "no" or (wanted == "auto" and wants_log):
        return Mode.LOG
    if is_terminal:
        return Mode.TABLE
    return Mode.LINES if wanted == "yes" else Mode.LOG_AND_LINES


def is_terminal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Say whether a table can be drawn there. FORCE_COLOR, which makes terminals of files for
    others, has no say."""
    return (
        os.isatty(descriptor)
        and environment.get("TERM", "dumb") not in ("", "dumb", "unknown")
        and is_in_foreground(descriptor)
    )


def is_in_foreground(descriptor: int) -> bool:
    """Say whether this process may write to a terminal: if not, a shell or another program does."""
    with contextlib.suppress(OSError):  # it is not the terminal of this session
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    return True
