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
def own_node(
    environment: dict[str, str], registry: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """An environment with containers of the test's own, as on a node that nobody else uses."""
    return {**environment, "CWL_UDSS_SCRATCH": str(tmp_path_factory.mktemp("node"))}


@pytest.fixture
def podman(doors: Path, own_node: dict[str, str]) -> Door:
    return Door(doors / "podman", own_node)


@pytest.fixture
def docker(doors: Path, own_node: dict[str, str]) -> Door:
    return Door(doors / "docker", own_node)
