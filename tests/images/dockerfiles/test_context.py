# SPDX-License-Identifier: Apache-2.0
"""The directory that a build may copy from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cwl_udss.images.dockerfiles.context import Context


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("a.md", "keep.md", "src/a.py", "src/deep/b.tmp", "src/deep/c.py", "data/1.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("a.md")
    return tmp_path


@pytest.mark.parametrize(
    ("lines", "ignored"),
    [
        ([], []),
        (["# *", "", "  "], []),
        (["*.md"], ["/a.md", "/keep.md"]),
        (["*.md", "!keep.md"], ["/a.md"]),
        (["!keep.md", "*.md"], ["/a.md", "/keep.md"]),
        (["a.py"], []),
        (["**/*.py"], ["/src/a.py", "/src/deep/c.py"]),
        (["src/*.py"], ["/src/a.py"]),
        (["/src/deep/"], ["/src/deep", "/src/deep/b.tmp", "/src/deep/c.py"]),
        (["src", "!src/deep/c.py"], ["/src/a.py", "/src/deep/b.tmp"]),
        (["[ad]*"], ["/a.md", "/data", "/data/1.csv"]),
        (["?ink"], ["/link"]),
    ],
)
def test_what_is_ignored(directory: Path, lines: list[str], ignored: list[str]) -> None:
    """https://docs.docker.com/build/concepts/context/#dockerignore-files"""
    assert Context(directory, lines).ignored == ignored


def test_a_key_is_of_what_is_copied(directory: Path) -> None:
    def key(*sources: str) -> str | None:
        return Context(directory, ["**/*.tmp"]).key(sources)

    assert key("src") == key("src") != key("data")
    assert key("src/*.py") != key("src/a.py", "data")
    before = key("src"), key("."), key("data")
    (directory / "src/deep/b.tmp").write_text("ignored")
    os.utime(directory / "src/a.py", (0, 0))
    assert (key("src"), key("."), key("data")) == before
    (directory / "src/deep/c.py").write_text("another")
    assert key("src") != before[0]
    assert key(".") != before[1]
    assert key("data") == before[2]
    (directory / "data/1.csv").chmod(0o755)
    assert key("data") != before[2]


@pytest.mark.parametrize("source", ["none", "*.none", "src/deep/b.tmp", "../secret"])
def test_what_is_not_there_has_no_key(directory: Path, tmp_path: Path, source: str) -> None:
    (tmp_path.parent / "secret").write_text("of another")
    assert Context(directory, ["**/*.tmp"]).key(["a.md", source]) is None
