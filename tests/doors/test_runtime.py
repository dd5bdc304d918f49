# SPDX-License-Identifier: Apache-2.0
"""What makes containers is tried once on a node, and again if it is another."""

from __future__ import annotations

from pathlib import Path

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
