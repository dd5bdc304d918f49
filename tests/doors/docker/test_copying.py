# SPDX-License-Identifier: Apache-2.0
"""`podman cp`: files into containers, and out of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from doors.callers import Door

SCRIPT = "ln -s /etc /out && mkdir -p /made/sub && echo 1 >/made/sub/file && echo ready && sleep 60"


@pytest.fixture
def box(podman: Door, tmp_path: Path) -> Iterator[str]:
    """A container that runs, with a directory of this machine in which a link leads out."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "secret").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("of this machine\n")
    volume = f"{mounted}:/mounted"
    podman("run", "-d", "--name", "box", "-v", volume, "busybox", "sh", "-c", SCRIPT)
    while podman("logs", "box").stdout != "ready\n":
        time.sleep(0.05)
    yield "box"
    podman("rm", "-f", "box")


def test_what_is_copied_is_where_cp_would_have_it(podman: Door, box: str, tmp_path: Path) -> None:
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/file").write_text("2\n")
    (tmp_path / "tree/program").write_text("#!/bin/sh\n")
    (tmp_path / "tree/program").chmod(0o755)
    for source, destination in (
        ("tree", f"{box}:/tmp"),
        ("tree", f"{box}:/tmp/new"),
        ("tree/.", f"{box}:/tmp/what"),
        ("tree/program", f"{box}:/made/other"),
        ("tree/program", f"{box}:/out"),
        (f"{box}:/made", "."),
        (f"{box}:/made/sub/file", "one"),
        (f"{box}:/out/passwd", "two"),
    ):
        done = podman("cp", source, destination, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), source
    places = ("/tmp/tree/deep/file", "/tmp/new/deep/file", "/tmp/what/deep/file")
    done = podman("exec", box, "cat", *places)
    assert done.stdout == "2\n" * 3
    assert podman("exec", box, "test", "-x", "/etc/program").returncode == 0
    assert (tmp_path / "made/sub/file").read_text() == (tmp_path / "one").read_text() == "1\n"
    assert os.access(tmp_path / "made/other", os.X_OK)
    assert (tmp_path / "two").read_text().startswith("root:")


def test_a_link_of_a_container_leads_nowhere_else(podman: Door, box: str, tmp_path: Path) -> None:
    """Its own processes may make any, also where a directory of this machine is mounted."""
    assert podman("cp", f"{box}:/mounted/secret", str(tmp_path / "got")).returncode == 1
    (tmp_path / "file").write_text("of a container\n")
    assert podman("cp", str(tmp_path / "file"), f"{box}:/mounted/secret").returncode == 0
    assert (tmp_path / "secret").read_text() == "of this machine\n"
    podman("kill", box)
    (tmp_path / "mounted/secret").unlink()
    (tmp_path / "mounted/secret").symlink_to(tmp_path / "secret")
    assert podman("cp", f"{box}:/mounted/secret", str(tmp_path / "got")).returncode == 1
    done = podman("cp", f"{box}:/made", str(tmp_path))
    assert "what it had written has gone with it" in done.stderr


def test_a_container_that_was_only_made_has_what_its_image_has(
    podman: Door, tmp_path: Path
) -> None:
    podman("create", "--name", "still", "busybox")
    done = podman("cp", "still:/bin/busybox", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert os.access(tmp_path / "busybox", os.X_OK)
    assert "is not running" in podman("cp", str(tmp_path / "busybox"), "still:/").stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nonesuch", "box:/"), "nonesuch"),
        (("box:/nonesuch", "."), "/nonesuch: No such file or directory"),
        ((".", "box:/etc/passwd"), "/etc/passwd is a file"),
        (("other:/file", "."), 'no container with name or ID "other" found'),
        (("one", "two"), "one of the two must be in a container"),
    ],
)
@pytest.mark.usefixtures("box")
def test_what_cannot_be_copied_is_said(
    podman: Door, tmp_path: Path, arguments: tuple[str, str], words: str
) -> None:
    done = podman("cp", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert words in done.stderr
