# SPDX-License-Identifier: Apache-2.0
"""Images that Apptainer, Charliecloud and enroot have made are run as their configurations say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Command
from foreign.directories import charliecloud_directory, charliecloud_squashfs, enroot_squashfs
from foreign.sifs import (
    COMPRESSIONS,
    bare_sif,
    encrypted_sif,
    overlay_image,
    sandbox_directory,
    sif_of_archive,
    sif_of_definition,
    sif_of_directory,
    sif_of_sif,
    sif_with_overlay,
    signed_sif,
)
from foreign.workshop import CONFIG, Workshop

Make = Callable[[Workshop], Path]


@pytest.mark.parametrize(
    "make",
    [
        sif_of_archive,
        sif_with_overlay,
        signed_sif,
        charliecloud_directory,
        charliecloud_squashfs,
        enroot_squashfs,
    ],
)
def test_what_docker_would_run(run_command: Command, workshop: Workshop, make: Make) -> None:
    image = str(make(workshop))
    words = " ".join([*CONFIG["Entrypoint"][1:], *CONFIG["Cmd"]])
    assert run_command("cwl-udss", "run", image).stdout == f"{words}\n"
    assert run_command("cwl-udss", "run", image, "a").stdout == "the entry point a\n"
    facts = json.loads(run_command("cwl-udss", "images", "inspect", image).stdout)["config"]
    assert facts["working_directory"] == CONFIG["WorkingDir"]
    if make not in (charliecloud_directory, charliecloud_squashfs):  # which have one value only
        assert set(CONFIG["Env"]) <= set(facts["environment"])
    else:
        assert "GREETING=hello world" in facts["environment"]


@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name != "lzma"])
def test_every_compression(run_command: Command, workshop: Workshop, compression: str) -> None:
    image = sif_of_archive(workshop, compression=compression)
    assert run_command("cwl-udss", "run", str(image), "a").stdout == "the entry point a\n"


@pytest.mark.parametrize("make", [sif_of_definition, sif_of_sif, sif_of_directory])
def test_what_a_definition_file_sets(run_command: Command, workshop: Workshop, make: Make) -> None:
    image = str(make(workshop))
    facts = json.loads(run_command("cwl-udss", "images", "inspect", image).stdout)["config"]
    found = dict(entry.split("=", 1) for entry in facts["environment"])
    assert found["DATA"] == "/opt/base/data"
    assert found["PATH"].startswith("/opt/own/bin:")
    assert found["EARLIER"] == "as the image has it"
    if make is not sif_of_directory:  # Apptainer's own scripts have another value
        assert found["QUOTED"] == 'it\'s "$5"'
    assert not [name for name in found if name.startswith(("APPTAINER", "SINGULARITY"))]


def test_a_sandbox_of_apptainer(run_command: Command, workshop: Workshop) -> None:
    done = run_command("cwl-udss", "run", str(sandbox_directory(workshop)), "env")
    assert "GREETING=hello world\n" in done.stdout


def test_a_root_filesystem_that_says_nothing(run_command: Command, workshop: Workshop) -> None:
    done = run_command("cwl-udss", "run", str(bare_sif(workshop)), "env")
    assert done.returncode == 0, done.stderr
    assert "GREETING" not in done.stdout


@pytest.mark.parametrize(
    ("make", "words"), [(encrypted_sif, "encrypted SIF"), (overlay_image, "ext3")]
)
def test_what_cannot_be_run(
    run_command: Command, workshop: Workshop, make: Make, words: str
) -> None:
    done = run_command("cwl-udss", "run", str(make(workshop)), "true")
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("make", [sif_of_archive, sif_of_definition, charliecloud_squashfs])
def test_where_nothing_can_be_mounted(
    run_command: Command, workshop: Workshop, tmp_path: Path, make: Make
) -> None:
    """Unpacked by us, as there is no program for it either."""
    (tmp_path / "programs").mkdir()
    python = shutil.which("python3")
    assert python is not None
    (tmp_path / "programs/python3").symlink_to(python)
    done = run_command("cwl-udss", "run", str(make(workshop)), "a", PATH=str(tmp_path / "programs"))
    assert done.stdout == "the entry point a\n", done.stderr
    assert "unpacking" in done.stderr
