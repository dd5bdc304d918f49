# SPDX-License-Identifier: Apache-2.0
"""A run as plain data: what was asked for, where, and what has come of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Node:
    """A step of the workflow that is no workflow itself."""

    path: str
    """With the steps that it is in: `call/sort`."""
    tool: str
    label: str
    """What its author says of it."""
    is_scattered: bool
    has_jobs: bool
    """Else it is an expression, which the driver evaluates."""
    before: tuple[str, ...]
    """Those whose outputs it is given."""
