# SPDX-License-Identifier: Apache-2.0
"""What makes containers is tried once on a node, and again if it is another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from doors.callers import Door

from cwl_udss.runtimes.bubblewrap.probe import bundled_bubblewrap


def test_another_program_of_that_name_is_tried(podman: Door, tmp_path: Path) -> None:
    program = tmp_path / "bin/bwrap"
    program.parent.mkdir()
    path = {"PATH": f"{program.parent}:{podman.environment['PATH']}"}
    for script in (f'exec {bundled_bubblewrap().path} "$@"', "exit 1"):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        for _ in range(2):
            done = podman("run", "--rm", "busybox", "echo", "1", variables=path)
            assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("podman", "run", "--rm", "--cidfile", "id"),
        ("docker", "run", "--rm", "--name", "named"),
        ("apptainer", "--silent", "exec"),
        ("udocker", "-q", "run"),
    ],
    ids=lambda words: words[0],
)
def test_one_that_works_no_more_is_not_used(
    doors: Path, own_node: dict[str, str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Though it seems to be the same program that was tried."""
    program = tmp_path / "bin/bwrap"
    program.parent.mkdir()
    path = f"{program.parent}:{own_node['PATH']}"
    name, *words = command
    door = Door(doors / name, {**own_node, "PATH": path})
    image = "docker://busybox" if name == "apptainer" else "busybox"
    good = f'exec {bundled_bubblewrap().path} "$@"'
    program.write_text(f"#!/bin/sh\n{good}\n")
    program.chmod(0o755)
    assert door(*words, image, "true", cwd=tmp_path).returncode == 0
    (tmp_path / "id").unlink(missing_ok=True)
    before = program.stat()
    program.write_text(f"#!/bin/sh\n{'exit 1':{len(good)}}\n")
    os.utime(program, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = door(*words, image, "echo", "ran", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
