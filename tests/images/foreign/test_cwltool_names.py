# SPDX-License-Identifier: Apache-2.0
"""Under which names cwltool's own `--singularity` looks for images, with the real Apptainer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import Command
from foreign.sifs import sif_of_archive
from foreign.workshop import Workshop

# Of registries that cannot be reached: what is not found by name cannot be had.
REGISTRY = "registry.invalid/some_one"


@pytest.fixture
def programs(workshop: Workshop, tmp_path: Path) -> Path:
    directory = tmp_path / "programs"
    directory.mkdir()
    workshop.sid.write_script(directory / "singularity", "apptainer")
    return directory


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (f"{REGISTRY}/tool:1.0", "registry.invalid_s_some___one_s_tool:1.0.sif"),
        (f"{REGISTRY}/tool", "registry.invalid_s_some___one_s_tool:latest.sif"),
        (f"docker://{REGISTRY}/tool:1.0", "registry.invalid_s_some___one_s_tool:1.0.sif"),
        # Those of older versions of cwltool, and of cwl-utils.
        (f"{REGISTRY}/tool:1.0", "registry.invalid_some_one_tool:1.0.sif"),
        (f"{REGISTRY}/tool:1.0", "registry.invalid_some_one_tool_1.0.sif"),
        (f"{REGISTRY}/tool:1.0", None),
    ],
)
def test_cwltool_finds_an_image_by_its_name(
    workshop: Workshop,
    programs: Path,
    run_command: Command,
    environment: dict[str, str],
    tmp_path: Path,
    image: str,
    name: str | None,
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    if name:
        shutil.copy(sif_of_archive(workshop), cache / name)
    tool = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "hints": {"DockerRequirement": {"dockerPull": image}},
        "baseCommand": ["is", "run"],
        "inputs": {},
        "outputs": {"out": "stdout"},
        "stdout": "out.txt",
    }
    (tmp_path / "tool.cwl").write_text(json.dumps(tool))
    done = run_command(
        *("cwltool", "--singularity", "tool.cwl"),
        PATH=f"{programs}:{environment['PATH']}",
        CWL_SINGULARITY_CACHE=str(cache),
    )
    if name:
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "out.txt").read_text() == "the entry point is run\n"
    else:
        assert done.returncode
        assert "registry.invalid" in done.stderr
