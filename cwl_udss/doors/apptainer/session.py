# SPDX-License-Identifier: Apache-2.0
"""Who calls, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.settings.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Session:
    """What all commands of one call have."""

    settings: Settings
    environment: Mapping[str, str]
    home: Path
