# SPDX-License-Identifier: Apache-2.0
"""What tests of the commands `apptainer` and `singularity` share."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from apptainer_door import Door

from cwl_udss.doors.shims import install


@pytest.fixture(scope="session")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for PATH with `apptainer` and `singularity` of ours."""
    directory = tmp_path_factory.mktemp("doors")
    install(directory, ("apptainer", "singularity"))
    return directory


@pytest.fixture
def apptainer(doors: Path, environment: dict[str, str], tmp_path: Path) -> Door:
    """Run `apptainer` of ours, in a directory of the test's own."""

    def run(
        *arguments: str | Path,
        name: str = "apptainer",
        cwd: Path | None = None,
        input: str | None = None,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [doors / name, *arguments],
            cwd=cwd or tmp_path,
            env={**environment, **variables},
            **({"stdin": subprocess.DEVNULL} if input is None else {"input": input}),  # type: ignore[arg-type]
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=120,
            check=False,
        )

    return run
