# SPDX-License-Identifier: Apache-2.0
"""A runtime, and steps with few inputs and with many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from steps import Step

from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap
from cwl_udss.runtimes.bubblewrap.trees import MANY
from cwl_udss.sandbox import Bind, RootFilesystem, Sandbox
from cwl_udss.surroundings.identity import identity_files


@pytest.fixture(scope="session")
def runtime() -> Bubblewrap:
    return find_bubblewrap(None)


@pytest.fixture
def small_step(busybox_root: Path, tmp_path: Path, runtime: Bubblewrap) -> Step:
    outdir, tmpdir = tmp_path / "outdir", tmp_path / "tmpdir"
    outdir.mkdir()
    tmpdir.mkdir()
    (tmp_path / "input").write_text("input\n")
    sandbox = Sandbox(
        root=RootFilesystem(path=busybox_root),
        command=(),
        environment={"PATH": "/bin", "HOME": "/out", "TMPDIR": "/tmp"},
        working_directory="/out",
        directories=("/var/lib/cwl",),
        binds=(
            Bind(source=str(outdir), destination="/out", writable=True),
            Bind(source=str(tmpdir), destination="/tmp", writable=True),
            Bind(source=str(tmp_path / "input"), destination="/var/lib/cwl/1/input"),
        ),
        files=identity_files(busybox_root, home="/out", network=False),
    )
    return Step(runtime, sandbox, outdir, tmpdir)


@pytest.fixture(params=[0, MANY], ids=["few inputs", "many inputs"])
def step(small_step: Step, request: pytest.FixtureRequest) -> Step:
    """With few inputs bwrap makes all binds, many are put together before it starts."""
    binds = small_step.sandbox.binds
    further = tuple(
        replace(binds[-1], destination=f"/var/lib/cwl/further/{number}")
        for number in range(request.param)
    )
    return replace(small_step, sandbox=replace(small_step.sandbox, binds=binds + further))
