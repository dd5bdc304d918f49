# SPDX-License-Identifier: Apache-2.0
"""SquashFS files that others have made: our reader finds in them what unsquashfs finds."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from foreign_squashfs import (
    COMPRESSIONS,
    VARIANTS,
    Variant,
    make_tree,
    mksquashfs,
    tar2sqfs,
)
from squashfs_readers import Facts, snapshot

from cwl_udss.images.formats.directory import DirectorySink
from cwl_udss.images.formats.squashfs.lookup import read_file
from cwl_udss.images.formats.squashfs.reader import read_squashfs
from cwl_udss.images.trees.contents import write_tree
from cwl_udss.images.trees.modes import directory_mode, file_mode


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("source") / "root")


@pytest.fixture(scope="module")
def expected(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Facts]:
    """What squashfs-tools find, as our trees have it."""
    scratch = tmp_path_factory.mktemp("expected")
    mksquashfs(tree, scratch / "image", VARIANTS[0])
    options = ["-q", "-n", "-user-xattrs", "-no-exit-code"]
    command = ["unsquashfs", *options, "-d", scratch / "theirs", scratch / "image"]
    # As an ordinary user it cannot make devices, and says so.
    subprocess.run(command, check=True, capture_output=True, umask=0)
    found = snapshot(scratch / "theirs")
    return {path: as_kept(facts) for path, facts in found.items() if facts.kind != "special"}


def read(image: Path, scratch: Path, offset: int = 0) -> dict[str, Facts]:
    with closing(DirectorySink(scratch / "ours", scratch / "contents")) as sink:
        write_tree(*read_squashfs(image, offset), sink)
    return snapshot(scratch / "ours")


def as_kept(facts: Facts) -> Facts:
    rule = {"directory": directory_mode, "file": file_mode}.get(facts.kind, lambda mode: mode)
    kept = {
        name: value
        for name, value in facts.attributes.items()
        if not name.startswith("user.overlay.")
    }
    return facts._replace(mode=rule(facts.mode), attributes=kept)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_whatever_mksquashfs_was_told(
    tree: Path, expected: dict[str, Facts], tmp_path: Path, variant: Variant
) -> None:
    mksquashfs(tree, tmp_path / "image", variant)
    found = read(tmp_path / "image", tmp_path, variant.offset)
    if "-no-xattrs" in variant.options:
        expected = without_attributes(expected)
    if "-no-hardlinks" in variant.options:
        expected = {path: facts._replace(same_as="") for path, facts in expected.items()}
        found = {path: facts._replace(same_as="") for path, facts in found.items()}
    assert_same(found, expected)


def without_attributes(found: dict[str, Facts]) -> dict[str, Facts]:
    return {path: facts._replace(attributes={}) for path, facts in found.items()}


def assert_same(found: dict[str, Facts], expected: dict[str, Facts]) -> None:
    assert list(found) == list(expected)
    for path, facts in found.items():
        assert facts == expected[path], path


@pytest.mark.parametrize(
    "options",
    [
        *(["-c", compression] for compression in COMPRESSIONS),
        ["-b", "4K"],
        ["-b", "1M", "-c", "xz"],
        ["-x"],  # no extended attributes
        ["-T"],  # no fragments for files of several blocks
        ["-e"],  # an export table
        ["-s"],  # no such padding
    ],
    ids=" ".join,
)
def test_whatever_tar2sqfs_was_told(
    tree: Path, expected: dict[str, Facts], tmp_path: Path, options: list[str]
) -> None:
    tar2sqfs(tree, tmp_path / "image", options)
    found = read(tmp_path / "image", tmp_path)
    assert_same(found, without_attributes(expected) if "-x" in options else expected)


def test_what_is_left_out_is_noted(tree: Path, tmp_path: Path) -> None:
    mksquashfs(tree, tmp_path / "image", VARIANTS[0])
    found, _ = read_squashfs(tmp_path / "image")
    assert found.notes == ("4 device nodes, pipes and other special files left out",)


def test_contents_that_are_not_taken_are_passed_over(tree: Path, tmp_path: Path) -> None:
    mksquashfs(tree, tmp_path / "image", VARIANTS[0])
    _, all_contents = read_squashfs(tmp_path / "image")
    expected = [b"".join(content) for _, content in all_contents]
    _, contents = read_squashfs(tmp_path / "image")
    for number, (_, content) in enumerate(contents):
        if number % 3 == 0:
            next(content, None)
        elif number % 3 == 1:
            assert b"".join(content) == expected[number]


LOOKED_UP = {
    "sizes/text131073": "sizes/text131073",
    "/sizes/../sizes/./noise4097": "sizes/noise4097",
    "sizes/text2500000": "sizes/text2500000",
    "holes": "holes",
    "only a hole": "only a hole",
    "sizes/text0": "sizes/text0",
    "many/01499-" + "x" * 60: "many/01499-" + "x" * 60,
    "links/hard": "sizes/text131073",
    "to/relative": "sizes/text1",
    "to/absolute": "sizes/text1",
    "to/the root's parent": "sizes/text1",
    "to/a directory/text1": "sizes/text1",
    "names/\udcff": "names/\udcff",
    "to/round": None,
    "links/dangling": None,
    "sizes": None,
    "nothing": None,
    "sizes/text1/below": None,
    "many/99999": None,
    "null": None,
    "pipe": None,
    "": None,
}


@pytest.mark.parametrize("variant", [VARIANTS[0], VARIANTS[-1]], ids=lambda variant: variant.name)
def test_one_file(tree: Path, tmp_path: Path, variant: Variant) -> None:
    mksquashfs(tree, tmp_path / "image", variant)
    for path, found in LOOKED_UP.items():
        content = read_file(tmp_path / "image", path, variant.offset)
        assert content == (None if found is None else (tree / found).read_bytes()), path


def test_a_file_that_is_too_large_to_be_read_whole(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with (tmp_path / "root/large").open("wb") as stream:
        stream.truncate(1 << 40)
    os.truncate(tmp_path / "root/large", 1 << 30)
    mksquashfs(tmp_path / "root", tmp_path / "image", VARIANTS[0])
    with pytest.raises(Exception, match="large in it has 1073741824 bytes"):
        read_file(tmp_path / "image", "large")
