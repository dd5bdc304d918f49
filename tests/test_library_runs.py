# SPDX-License-Identifier: Apache-2.0
"""Runs whose images are in libraries of other programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Command

NAME = "busybox:1.36"
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
hints:
  DockerRequirement: {dockerPull: "busybox:1.36"}
baseCommand: [cat, /etc/passwd]
inputs: []
outputs: {}
"""


@pytest.fixture
def library(run_command: Command, tmp_path: Path) -> Path:
    """Where an image is under its name of cwltool, and nothing else."""
    assert run_command("cwl-udss", "images", "pull", NAME).returncode == 0
    link = ("images", "link", "library", "--naming", "cwltool", NAME)
    assert run_command("cwl-udss", *link).returncode == 0
    return tmp_path / "library"


def test_a_workflow_runs_from_a_library_without_network(
    run_command: Command, tmp_path: Path, library: Path
) -> None:
    (tmp_path / "tool.cwl").write_text(TOOL)
    alone = {"CWL_UDSS_STORE": str(tmp_path / "store"), "CWL_UDSS_OFFLINE": "yes"}
    run = ("cwltool", "--udss", "tool.cwl")
    missing = run_command(*run, **alone)
    assert missing.returncode != 0
    assert f"not in the store {tmp_path}/store" in missing.stderr
    found = run_command(*run, **alone, CWL_UDSS_LIBRARY=f"nextflow:/nowhere,cwltool:{library}")
    assert found.returncode == 0, found.stderr
    assert "the library nextflow:/nowhere is not there, and is passed over" in found.stderr
    assert f"{NAME} is {library}/busybox:1.36.sif" in found.stderr
    assert not list((tmp_path / "store").glob("images/*"))
    # cwltool's own variable says it, too; a site may not want that.
    found = run_command(*run, **alone, CWL_SINGULARITY_CACHE=str(library))
    assert found.returncode == 0, found.stderr
    forbidden = run_command(
        *run, "--udss-known-libraries", "no", **alone, CWL_SINGULARITY_CACHE=str(library)
    )
    assert forbidden.returncode != 0


NAMED = """\
cwlVersion: v1.2
class: Workflow
inputs: []
outputs: {}
steps:
  names:
    run:
      class: CommandLineTool
      hints: {DockerRequirement: {dockerPull: "busybox:1.36", dockerImageId: own-name}}
      baseCommand: [touch, made]
      inputs: []
      outputs: {made: {type: File, outputBinding: {glob: made}}}
    in: {}
    out: [made]
  uses:
    run:
      class: CommandLineTool
      hints: {DockerRequirement: {dockerImageId: own-name}}
      baseCommand: [cat]
      inputs: {made: {type: File, inputBinding: {}}}
      outputs: {}
    in: {made: names/made}
    out: []
"""


def test_an_image_in_a_library_may_be_given_a_name(
    run_command: Command, tmp_path: Path, library: Path
) -> None:
    (tmp_path / "named.cwl").write_text(NAMED)
    done = run_command(
        *("cwltool", "--udss", "--disable-pull", "--udss-library", f"cwltool:{library}"),
        "named.cwl",
        CWL_UDSS_STORE=str(tmp_path / "store"),
    )
    assert done.returncode == 0, done.stderr


def test_a_damaged_image_is_pulled_instead(
    run_command: Command, tmp_path: Path, library: Path
) -> None:
    made = library / "busybox:1.36.sif"
    made.chmod(0o644)
    made.write_bytes(made.read_bytes()[:50_000])
    done = run_command(
        *("cwl-udss", "run", "--udss-library", f"cwltool:{library}", NAME, "--", "echo", "well"),
        CWL_UDSS_STORE=str(tmp_path / "store"),
    )
    assert (done.returncode, done.stdout) == (0, "well\n")
    [warning] = [line for line in done.stderr.splitlines() if "passed over" in line]
    assert str(made) in warning and "is not whole" in warning
    assert "pulled" in done.stderr


def test_images_pull_gets_into_the_store_what_a_library_has(
    run_command: Command, tmp_path: Path, library: Path
) -> None:
    store = {"CWL_UDSS_STORE": str(tmp_path / "store")}
    given = ("--udss-library", f"cwltool:{library}")
    digest = run_command("cwl-udss", "images", "pull", NAME, **store).stdout.split()[0]
    assert run_command("cwl-udss", "images", "rm", NAME, **store).returncode == 0
    exact = f"{NAME}@{digest}"
    # The SIF says of which image it was made.
    name = library / f"busybox:1.36@{digest}.sif"
    (library / "busybox:1.36.sif").rename(name)
    done = run_command("cwl-udss", "run", *given, exact, "--", "echo", "well", **store)
    assert f"{exact} is {name} of the library cwltool:{library}, by its digest" in done.stderr
    pulled = run_command("cwl-udss", "images", "pull", *given, exact, **store)
    assert pulled.returncode == 0, pulled.stderr
    assert (
        digest
        in json.loads(run_command("cwl-udss", "images", "inspect", digest, **store).stdout)[
            "digest"
        ]
    )


def test_an_archive_of_docker_save_in_a_library(
    run_command: Command, tmp_path: Path, workshop: object
) -> None:
    archive = workshop.archive()  # type: ignore[attr-defined]
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives/ownname_1.tar").symlink_to(archive)
    done = run_command(
        *("cwl-udss", "run", "--udss-library", "cwl-docker-extract:archives", "--udss-offline"),
        *("own/name:1", "--", "words"),
        CWL_UDSS_STORE=str(tmp_path / "store"),
    )
    assert (done.returncode, done.stdout) == (0, "the entry point words\n"), done.stderr
    assert "by its name only" in done.stderr
