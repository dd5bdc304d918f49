# SPDX-License-Identifier: Apache-2.0
"""Publishing is all or nothing, and only the dead are cleaned up after."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cwl_udss.staging import (
    publish_directory,
    publish_file,
    remove_abandoned,
    remove_tree,
    work_directory,
)


def test_a_published_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    publish_file(tmp_path / "new/file", b"one", tmp_path)
    publish_file(tmp_path / "new/file", b"two", tmp_path)
    assert (tmp_path / "new/file").read_bytes() == b"two"
    assert os.listdir(tmp_path / "new") == ["file"]
    assert os.listdir(tmp_path) == ["new"]


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


def test_a_tree_is_removed_whose_directories_are_all_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/b/file").touch()
    for path in ("a/b/c", "a/b", "a"):
        (tmp_path / path).chmod(0)
    remove_tree(tmp_path / "a")
    assert os.listdir(tmp_path) == []
    assert tmp_path.stat().st_mode & 0o777 == 0o755  # that one is somebody else's


def test_two_work_directories_of_a_process_differ(tmp_path: Path) -> None:
    with work_directory(tmp_path) as one, work_directory(tmp_path) as two:
        assert one != two
        assert one.is_dir()


LEAVE = """
import os, sys
from pathlib import Path
from cwl_udss.staging import work_directory
with work_directory(Path(sys.argv[1])) as path:
    (path / "layer").mkdir()
    print(path, flush=True)
    sys.stdin.read()
"""


def leave(parent: Path) -> subprocess.Popen[str]:
    """Start a process with a work directory below `parent`."""
    process = subprocess.Popen(
        [sys.executable, "-c", LEAVE, str(parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_what_a_killed_process_left_goes_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "not-ours").mkdir()
    living, dead = leave(tmp_path), leave(tmp_path)
    kill(dead)
    try:
        with work_directory(tmp_path):
            left = [name for name in os.listdir(tmp_path) if not name.endswith(".owner")]
            assert not any(f".{dead.pid}." in name for name in left)
            assert sum(f".{living.pid}." in name for name in left) == 1
            assert "not-ours" in left
    finally:
        kill(living)
    remove_abandoned(tmp_path, patience=0)
    assert os.listdir(tmp_path) == ["not-ours"]


def test_the_work_of_another_machine_goes_only_after_watching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cwl_udss.filesystems.leases.REFRESH_SECONDS", 0.2)
    dead = leave(tmp_path)
    kill(dead)
    elsewhere(tmp_path)
    with work_directory(tmp_path) as mine:
        assert len(os.listdir(tmp_path)) == 4
        elsewhere(tmp_path)
        removed = remove_abandoned(tmp_path, patience=1)
        assert [f".{dead.pid}." in path.name for path in removed] == [True]
        assert mine.exists()


INTERRUPTED = """
import sys
from pathlib import Path
from cwl_udss import staging
def interrupted(path):
    raise KeyboardInterrupt
staging.remove_tree = interrupted
with staging.work_directory(Path(sys.argv[1])) as path:
    (path / "layer").mkdir()
"""


def test_what_an_interrupt_has_kept_from_being_removed_goes_later(tmp_path: Path) -> None:
    """Ctrl-C, typed twice."""
    process = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    subprocess.run(process, stderr=subprocess.DEVNULL, check=False)
    assert len(os.listdir(tmp_path)) == 2
    remove_abandoned(tmp_path, patience=0)
    assert os.listdir(tmp_path) == []


def elsewhere(parent: Path) -> None:
    """Make all owners such that they are another machine's."""
    for owner in parent.glob("*.owner"):
        facts = json.loads(owner.read_text())
        owner.write_text(json.dumps({**facts, "boot": "another"}))


def test_removing_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to(tmp_path / "precious")
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "tree")
    assert (tmp_path / "precious/file").exists()
