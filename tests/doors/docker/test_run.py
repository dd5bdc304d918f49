# SPDX-License-Identifier: Apache-2.0
"""The doors `podman run` and `docker run`: what a caller gets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from doors.callers import Door

IMAGE = "busybox"


def test_a_command_runs_in_its_image(podman: Door) -> None:
    done = podman("run", "--rm", IMAGE, "echo", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


@pytest.mark.parametrize(
    ("command", "code"), [("exit 3", 3), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_the_exit_code_is_the_commands(podman: Door, command: str, code: int) -> None:
    assert podman("run", "--rm", IMAGE, "sh", "-c", command).returncode == code


def test_what_is_mounted_is_there_as_it_was_asked_for(podman: Door, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_text("read me")
    (tmp_path / "out").mkdir()
    done = podman(
        *("run", "--rm", "-v", f"{tmp_path}/in:/data:ro", "-w", "/data"),
        *("-v", f"{tmp_path}/out:/out", IMAGE),
        *("sh", "-c", "cat a; echo x > /out/b; echo y > /data/a || echo refused"),
    )
    assert done.stdout == "read merefused\n"
    assert (tmp_path / "out/b").read_text() == "x\n"
    assert os.stat(tmp_path / "out/b").st_uid == os.getuid()
