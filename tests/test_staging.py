# SPDX-License-Identifier: Apache-2.0
"""Publishing is all or nothing, and only the dead are cleaned up after."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from cwl_udss.staging import (
    ABANDONED_AFTER_SECONDS,
    publish_directory,
    publish_file,
    remove_tree,
    work_directory,
)


def test_a_published_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    publish_file(tmp_path / "new/file", b"one")
    publish_file(tmp_path / "new/file", b"two")
    assert (tmp_path / "new/file").read_bytes() == b"two"
    assert os.listdir(tmp_path / "new") == ["file"]


def test_the_first_directory_stays(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    assert publish_directory(tmp_path / "first", tmp_path / "images/x")
    assert not publish_directory(tmp_path / "second", tmp_path / "images/x")
    assert (tmp_path / "images/x/content").read_text() == "first"


def test_a_work_directory_is_gone_afterwards_whatever_is_in_it(tmp_path: Path) -> None:
    with work_directory(tmp_path / "work") as path:
        (path / "closed/deeper").mkdir(parents=True)
        (path / "closed/deeper/file").write_text("")
        (path / "closed/deeper").chmod(0o000)
        (path / "closed").chmod(0o500)
    assert os.listdir(tmp_path / "work") == []


def test_two_work_directories_of_a_process_differ(tmp_path: Path) -> None:
    with work_directory(tmp_path) as one, work_directory(tmp_path) as two:
        assert one != two
        assert one.is_dir()


def dead_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("host", "process", "age", "stays"),
    [
        pytest.param(socket.gethostname(), dead_process(), 0, False, id="dead here"),
        pytest.param(socket.gethostname(), os.getppid(), 0, True, id="alive here"),
        pytest.param("other", 1, 0, True, id="another host, fresh"),
        pytest.param("other", 1, ABANDONED_AFTER_SECONDS + 60, False, id="another host, old"),
    ],
)
def test_what_others_left(tmp_path: Path, host: str, process: int, age: int, stays: bool) -> None:
    other = tmp_path / f"{host}.{process}.0123456789abcdef"
    (other / "layer").mkdir(parents=True)
    (tmp_path / "not-ours").mkdir()
    os.utime(other, (time.time() - age, time.time() - age))
    with work_directory(tmp_path):
        assert other.exists() == stays
        assert (tmp_path / "not-ours").exists()


def test_removing_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to(tmp_path / "precious")
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "tree")
    assert (tmp_path / "precious/file").exists()
