# SPDX-License-Identifier: Apache-2.0
"""What a command of these doors works with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cwl_udss.doors.docker.errors import Program
from cwl_udss.doors.runtime import find_runtime
from cwl_udss.doors.table import Table, open_table
from cwl_udss.images.pull import When
from cwl_udss.images.store.store import Store
from cwl_udss.machine.user_directories import home_directory
from cwl_udss.records import record
from cwl_udss.runtimes.choosing.choice import RuntimeFinder
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.settings.config import load_settings
from cwl_udss.settings.opening import open_store, runtime_finder
from cwl_udss.settings.settings import Settings

if TYPE_CHECKING:
    from cwl_udss.steps.shared import Steps


@record(frozen=True)
class Session:
    """One call of a door."""

    program: Program
    command: str
    settings: Settings
    environment: Mapping[str, str]
    home: Path

    @cached_property
    def table(self) -> Table:
        """The containers of this node."""
        return open_table(self.settings)

    @cached_property
    def store(self) -> Store:
        """The images."""
        return open_store(self.settings)

    @cached_property
    def finder(self) -> RuntimeFinder:
        """What finds the runtime."""
        return runtime_finder(self.settings, self.environment)

    def steps(self, when: When) -> Steps:
        """Return what gets images and runs commands in them."""
        # It takes longer to import than a short command to run.
        from cwl_udss.steps.shared import Steps

        settings, environment = self.settings, self.environment
        return Steps(settings, environment, self.home, when, lambda _: self.runtime())

    def runtime(self) -> PipedRuntime:
        """Return the runtime. Raises SandboxError."""
        return find_runtime(self.finder, self.settings)


def open_session(program: Program, command: str) -> Session:
    """Read the settings, from files if a caller gives no variables. Raises SettingsError."""
    home = home_directory()
    settings = load_settings({}, os.environ, home)
    return Session(program, command, settings, os.environ, home)
