# SPDX-License-Identifier: Apache-2.0
"""What the system's errors say of files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cwl_udss.files.copies import copytree
from cwl_udss.filesystems.filesystem import user_name
from cwl_udss.filesystems.system_words import full_places, place_words, system_words


def test_whose_a_directory_is_in_which_nothing_can_be_made(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    error = OSError(errno.EACCES, "Permission denied", str(tmp_path / "new/file"))
    owner = user_name(os.getuid())
    assert system_words(error) == (
        f"{tmp_path}/new/file: Permission denied ({tmp_path} is {owner}'s, with mode 0555)"
    )


def test_how_much_room_there_is(tmp_path: Path) -> None:
    assert "B free, which is not enough" in place_words(errno.ENOSPC, tmp_path)
    assert place_words(errno.EISDIR, tmp_path) == ""
    assert full_places((tmp_path, tmp_path)) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(errno.ENOENT, "None"), "the current directory: None"),
        (OSError(errno.ENOSPC, "Full"), "standard output, or a file that was being written: Full"),
        (OSError("in words"), "in words"),
        (OSError(errno.EXDEV, "No", "/a", None, "/b"), "/a, /b: No"),
    ],
)
def test_errors_that_say_little(error: OSError, words: str) -> None:
    assert system_words(error) == words


def test_of_a_tree_the_first_that_has_failed(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    os.mkfifo(tmp_path / "tree/pipe")
    (tmp_path / "tree/secret").touch(mode=0)
    with pytest.raises(OSError) as caught:
        copytree(str(tmp_path / "tree"), str(tmp_path / "copy"))
    assert "tree/" in system_words(caught.value)
