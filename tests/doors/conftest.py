# SPDX-License-Identifier: Apache-2.0
"""What the tests of the doors share: a directory with all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from doors.callers import Door

from cwl_udss.doors.shims import install


@pytest.fixture(scope="session")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all doors, whose name has a blank."""
    directory = tmp_path_factory.mktemp("some doors")
    install(directory)
    return directory


@pytest.fixture
def podman(doors: Path, environment: dict[str, str]) -> Door:
    return Door(doors / "podman", environment)


@pytest.fixture
def docker(doors: Path, environment: dict[str, str]) -> Door:
    return Door(doors / "docker", environment)
