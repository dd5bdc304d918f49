# SPDX-License-Identifier: Apache-2.0
"""Copies that share nothing with their originals, and moves that lose nothing."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cwl_udss.files import copies


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/file").write_text("content")
    (tree / "sub/file").chmod(0o750)
    os.utime(tree / "sub/file", ns=(1, 2))
    (tree / "link").symlink_to("sub/file")
    return tree


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Path]:
    """A directory on another filesystem than tmp_path."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        assert os.stat(name).st_dev != tmp_path.stat().st_dev
        yield Path(name)


def test_a_copy_is_not_the_original(tree: Path) -> None:
    copies.copy2(str(tree / "sub/file"), str(tree / "copy"))
    (tree / "copy").write_text("changed")
    assert (tree / "sub/file").read_text() == "content"
    assert (tree / "sub/file").stat().st_nlink == 1
    assert (tree / "copy").stat().st_mode & 0o777 == 0o750


def test_a_copy_by_a_python_built_for_an_old_c_library(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    copies.copy2(str(tree / "sub/file"), str(tree / "copy"))
    assert (tree / "copy").read_text() == "content"


def test_a_large_file_and_one_without_a_size(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(3 << 20))
    copies.copy(str(tmp_path / "large"), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "large").read_bytes()
    copies.copy("/proc/self/status", str(tmp_path / "status"))
    assert "Name:" in (tmp_path / "status").read_text()


def test_a_file_is_not_copied_over_itself(tree: Path) -> None:
    (tree / "same").symlink_to("sub/file")
    with pytest.raises(shutil.SameFileError):
        copies.copy(str(tree / "sub/file"), str(tree / "same"))
    assert (tree / "sub/file").read_text() == "content"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failure_is_not_taken_for_an_impossibility(
    tree: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "copy_file_range", fail, raising=False)
    with pytest.raises(OSError, match=os.strerror(number)):
        copies.copy(str(tree / "sub/file"), str(tree / "copy"))


def test_a_move_on_one_filesystem_is_a_rename(tree: Path) -> None:
    inode = (tree / "sub/file").stat().st_ino
    copies.move(str(tree / "sub"), str(tree / "moved"))
    assert (tree / "moved/file").stat().st_ino == inode


def test_a_move_to_another_filesystem(tree: Path, other: Path) -> None:
    copies.move(str(tree), str(other))
    assert not tree.exists()
    assert os.listdir(other) == ["tree"]
    assert (other / "tree/sub/file").read_text() == "content"
    assert (other / "tree/sub/file").stat().st_mtime_ns == 2
    assert os.readlink(other / "tree/link") == "sub/file"


def test_a_move_that_fails_leaves_the_old_and_nothing_new(
    tree: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filecmp.cmp", lambda *arguments, **keywords: False)
    with pytest.raises(OSError, match="differs"):
        copies.move(str(tree / "sub"), str(other / "sub"))
    assert (tree / "sub/file").read_text() == "content"
    assert os.listdir(other) == []
