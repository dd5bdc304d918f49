# SPDX-License-Identifier: Apache-2.0
"""Who calls, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cwl_udss.doors.runtime import find_runtime
from cwl_udss.images.pull import When
from cwl_udss.records import record
from cwl_udss.runtimes.choosing.choice import RuntimeFinder
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.settings.settings import Settings
from cwl_udss.steps.shared import Steps


@record(frozen=True, kw_only=True)
class Session:
    """What all commands of one call have."""

    settings: Settings
    environment: Mapping[str, str]
    home: Path

    def steps(self, when: When = When.MISSING) -> Steps:
        """Return what gets images and runs commands in them."""
        return Steps(self.settings, self.environment, self.home, when, self._runtime)

    def _runtime(self, finder: RuntimeFinder) -> PipedRuntime:
        return find_runtime(finder, self.settings)
