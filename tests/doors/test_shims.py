# SPDX-License-Identifier: Apache-2.0
"""Installing doors, and removing them, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Command

from cwl_udss.doors.shims import NAMES, install


def seen(directory: Path) -> list[str]:
    """What is in a directory, without what ls(1) hides."""
    return sorted(name for name in os.listdir(directory) if name[0] != ".")


def test_doors_are_installed_and_removed(run_command: Command, tmp_path: Path) -> None:
    directory = tmp_path / "some doors"
    done = run_command("cwl-udss", "shim", "install", directory, "podman", "docker")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == f"export PATH='{directory}':\"$PATH\""
    assert seen(directory) == ["docker", "podman"]
    again = run_command("cwl-udss", "shim", "install", directory)
    assert again.returncode == 0
    assert seen(directory) == sorted(NAMES)
    version = subprocess.run(
        [directory / "podman", "--version"], capture_output=True, text=True, check=True
    )
    assert version.stdout.startswith("podman version ")
    assert run_command("cwl-udss", "shim", "remove", directory, "docker").returncode == 0
    assert len(os.listdir(directory)) > len(seen(directory)), "others are as quick as before"
    assert run_command("cwl-udss", "shim", "remove", directory).returncode == 0
    assert os.listdir(directory) == []


@pytest.mark.parametrize("name", ["bin", "with blanks", "deep/" * 40])
def test_pythons_path_may_be_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    python = tmp_path / name / "python3"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    [door] = install(tmp_path / "doors", ["podman"])
    assert str(python) in door.read_text()
    done = subprocess.run([door, "--version"], capture_output=True, text=True, check=True, env={})
    assert done.stdout.startswith("podman version ")


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_what_is_somebody_elses_stays(run_command: Command, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "podman"
    if kind == "file":
        place.write_text("#!/bin/sh\n")
    elif kind == "link":
        place.symlink_to("/usr/bin/true")
    else:
        place.mkdir()
    done = run_command("cwl-udss", "shim", "install", tmp_path)
    assert (done.returncode, "was not made by cwl-udss" in done.stderr) == (1, True)
    assert not (tmp_path / "docker").exists()
    assert run_command("cwl-udss", "shim", "remove", tmp_path, "podman").returncode == 1
    assert run_command("cwl-udss", "shim", "remove", tmp_path).returncode == 0
    assert os.path.lexists(place)


def test_there_are_no_others(run_command: Command, tmp_path: Path) -> None:
    done = run_command("cwl-udss", "shim", "install", tmp_path, "rkt")
    assert (done.returncode, "podman" in done.stderr) == (1, True)
