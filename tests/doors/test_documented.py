# SPDX-License-Identifier: Apache-2.0
"""docs/doors.md says what the doors take."""

from __future__ import annotations

from pathlib import Path

import cwl_udss.doors.docker.options as tables
from cwl_udss.doors.docker.listing import COMMANDS, docker_lists
from cwl_udss.doors.docker.option import Option

PAGE = Path(__file__).parent.parent.parent / "docs/doors.md"


def test_the_lists_of_options_are_the_parsers() -> None:
    assert docker_lists() in PAGE.read_text()


def test_every_table_of_options_is_listed() -> None:
    listed = [options for _, options in COMMANDS]
    for name, value in vars(tables).items():
        if name.isupper() and isinstance(value, tuple) and value and name[0] != "_":
            assert not isinstance(value[0], Option) or value in listed, name
