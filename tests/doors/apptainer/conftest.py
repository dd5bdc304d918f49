# SPDX-License-Identifier: Apache-2.0
"""What tests of the commands `apptainer` and `singularity` share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from apptainer_door import Door

_SCRIPT = f"""#!{sys.executable}
import os, sys
from cwl_udss.doors.apptainer.program import run
sys.exit(run(os.path.basename(sys.argv[0]), sys.argv[1:]))
"""


@pytest.fixture(scope="session")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for PATH with `apptainer` and `singularity` of ours."""
    directory = tmp_path_factory.mktemp("doors")
    for name in ("apptainer", "singularity"):
        (directory / name).write_text(_SCRIPT)
        (directory / name).chmod(0o755)
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
