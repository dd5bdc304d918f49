# SPDX-License-Identifier: Apache-2.0
"""What the documentation says of options is what becomes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwl_udss.doors.apptainer import commands as apptainer
from cwl_udss.doors.apptainer.command_line.action_options import GLOBAL
from cwl_udss.doors.apptainer.command_line.listing import help_lines, table_rows
from cwl_udss.doors.apptainer.command_line.option import Option
from cwl_udss.doors.udocker import commands as udocker
from cwl_udss.doors.udocker import options as udocker_options

PAGE = (Path(__file__).parents[2] / "docs/apptainer.md").read_text()
PARTS = {
    "apptainer": (apptainer.COMMANDS, GLOBAL),
    "udocker": (udocker.COMMANDS, udocker_options.GLOBAL),
}
# Those have the same as `exec`, or one more, as is said.
LIKE_EXEC = ("run", "test", "shell", "instance start")
CASES = [
    (program, command, entry.options)
    for program, (commands, _) in PARTS.items()
    for command, entry in commands.items()
    if entry.options and not (program == "apptainer" and command in LIKE_EXEC)
] + [(program, "", options) for program, (_, options) in PARTS.items()]


@pytest.mark.parametrize(("program", "command", "options"), CASES)
def test_every_option_is_in_the_list(
    program: str, command: str, options: tuple[Option, ...]
) -> None:
    for row in table_rows(options):
        assert row in PAGE


def test_help_names_every_option() -> None:
    said = "\n".join(help_lines(apptainer.COMMANDS["exec"].options))
    assert "  -B, --bind VALUE" in said
    assert "--writable" in said
    assert "refused: images are never written to" in said
