# SPDX-License-Identifier: Apache-2.0
"""The program `apptainer`, also called `singularity`."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_udss.doors.apptainer.commands import run as run_command
from cwl_udss.doors.given import given_environment
from cwl_udss.machine.user_directories import home_directory


def run(name: str, arguments: Sequence[str]) -> int:
    """Be `apptainer` with these arguments. Returns the exit code."""
    return run_command(name, arguments, given_environment(), home_directory())
