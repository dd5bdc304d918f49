# SPDX-License-Identifier: Apache-2.0
"""What is trusted of other programs' images; apart, as every command has it in its settings."""

from __future__ import annotations

import enum


class Trust(enum.Enum):
    """What must say which image it is that a library has under a name."""

    DIGEST = "digest"
    """Something that proves a digest."""
    NAME = "name"
    """The name is enough."""
