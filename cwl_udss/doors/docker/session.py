# SPDX-License-Identifier: Apache-2.0
"""What a command of these doors works with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from cwl_udss.doors.docker.errors import Program
from cwl_udss.doors.runtime import find_runtime
from cwl_udss.doors.table import Table, open_table
from cwl_udss.images.store.store import Store
from cwl_udss.machine.user_directories import home_directory
from cwl_udss.records import record
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.settings.config import load_settings
from cwl_udss.settings.opening import open_store
from cwl_udss.settings.settings import Settings


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

    def runtime(self) -> PipedRuntime:
        """Return the runtime. Raises SandboxError."""
        return find_runtime(self.settings, self.environment)


def open_session(program: Program, command: str) -> Session:
    """Read the settings, from files if a caller gives no variables. Raises SettingsError."""
    home = home_directory()
    settings = load_settings({}, os.environ, home)
    return Session(program, command, settings, os.environ, home)
