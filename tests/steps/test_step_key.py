# SPDX-License-Identifier: Apache-2.0
"""Keys of steps: what changes them, and which files are read for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cwl_udss.sandbox import OUTPUT_DIRECTORY, TEMPORARY_DIRECTORY, Bind, Sandbox
from cwl_udss.steps import key as module
from cwl_udss.steps.key import Contents, Step, Unidentified, step_key

DIGEST = "sha256:" + 64 * "0"


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    return Contents(tmp_path / "checksums", tmp_path)


@pytest.fixture
def step(tmp_path: Path) -> Step:
    """A step with an input file, an input directory, and an output directory with a file in it."""
    for name in ("outputs", "directory", "tmp"):
        (tmp_path / name).mkdir()
    for name in ("file", "directory/member", "outputs/made"):
        (tmp_path / name).write_text("content")
    (tmp_path / "directory/link").symlink_to("member")
    sandbox = Sandbox(
        root=tmp_path,
        command=("sh", "-c", "true"),
        environment={"HOME": OUTPUT_DIRECTORY},
        working_directory=OUTPUT_DIRECTORY,
        binds=(
            Bind(source=f"{tmp_path}/outputs", destination=OUTPUT_DIRECTORY, writable=True),
            Bind(source=f"{tmp_path}/tmp", destination=TEMPORARY_DIRECTORY, writable=True),
            Bind(source=f"{tmp_path}/file", destination="/var/lib/cwl/stg0/file"),
            Bind(source=f"{tmp_path}/directory", destination="/var/lib/cwl/stg1/directory"),
        ),
    )
    return Step(sandbox=sandbox, image=DIGEST, stdout="out.txt")


def _with_sandbox(**changes: Any) -> Callable[[Step], Step]:
    return lambda step: replace(step, sandbox=replace(step.sandbox, **changes))


@pytest.mark.parametrize(
    "change",
    [
        lambda step: replace(step, image="sha256:" + 64 * "1"),
        lambda step: replace(step, stdin="/var/lib/cwl/stg0/file"),
        lambda step: replace(step, stdout="other.txt"),
        lambda step: replace(step, stderr="err.txt"),
        _with_sandbox(command=("sh", "-c true")),
        _with_sandbox(environment={}),
        _with_sandbox(environment={"HOME": "/"}),
        _with_sandbox(working_directory="/"),
        _with_sandbox(network=True),
        _with_sandbox(shared_memory_bytes=1 << 20),
        _with_sandbox(binds=()),
    ],
)
def test_what_the_sandbox_is_changes_the_key(
    step: Step, contents: Contents, change: Callable[[Step], Step]
) -> None:
    assert step_key(change(step), contents).value != step_key(step, contents).value


@pytest.mark.parametrize(
    "change",
    [
        lambda path: (path / "file").write_text("CONTENT"),
        lambda path: (path / "file").chmod(0o755),
        lambda path: (path / "directory/member").write_text("CONTENT"),
        lambda path: (path / "directory/new").mkdir(),
        lambda path: (path / "directory/member").rename(path / "directory/renamed"),
        lambda path: ((path / "directory/link").unlink(), (path / "directory/link").mkdir()),
        lambda path: (path / "outputs/made").write_text("CONTENT"),
        lambda path: (path / "outputs/more").write_text(""),
    ],
)
def test_what_it_shows_changes_the_key(
    step: Step, contents: Contents, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    before = step_key(step, contents).value
    change(tmp_path)
    assert step_key(step, contents).value != before


def test_paths_of_the_host_and_times_do_not_change_the_key(
    step: Step, contents: Contents, tmp_path: Path
) -> None:
    before = step_key(step, contents).value
    os.utime(tmp_path / "file", (1, 1))
    (tmp_path / "tmp/left").write_text("by another step")
    (tmp_path / "file").rename(tmp_path / "moved")
    (tmp_path / "elsewhere").symlink_to("moved")
    binds = [
        replace(bind, source=f"{tmp_path}/elsewhere") if bind.source.endswith("/file") else bind
        for bind in reversed(step.sandbox.binds)
    ]
    moved = replace(step, sandbox=replace(step.sandbox, root=Path("/x"), binds=tuple(binds)))
    assert step_key(moved, contents).value == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: os.mkfifo(path / "directory/pipe"), "neither a file nor a directory"),
        (lambda path: (path / "file").unlink(), "cannot be read"),
    ],
)
def test_what_cannot_be_told_apart_gets_no_key(
    step: Step,
    contents: Contents,
    tmp_path: Path,
    change: Callable[[Path], object],
    message: str,
) -> None:
    change(tmp_path)
    with pytest.raises(Unidentified, match=message):
        step_key(step, contents)


def test_names_that_are_no_text(step: Step, contents: Contents, tmp_path: Path) -> None:
    before = step_key(step, contents).value
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/directory/\xff")).write_text("")
    assert step_key(step, contents).value != before


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read."""
    paths: list[str] = []
    read = module._read_checksum

    def reading(path: str) -> str:
        paths.append(path)
        return read(path)

    monkeypatch.setattr(module, "_read_checksum", reading)
    return paths


def checksum(contents: Contents, path: Path) -> str:
    return contents.checksum(str(path), path.stat())


def test_a_file_is_read_once_by_all_threads(
    contents: Contents, tmp_path: Path, reads: list[str]
) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    threads = [threading.Thread(target=checksum, args=(contents, path)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reads == [str(path)]
    assert checksum(contents, path) == "sha1$040f06fd774092478d450774f5ba30c5da78acc8"


def test_a_recorded_checksum_holds_until_the_file_changes(
    contents: Contents, tmp_path: Path, reads: list[str]
) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    contents.record(str(path), "sha1$recorded")
    assert checksum(contents, path) == "sha1$recorded"
    (tmp_path / "moved").mkdir()
    moved = path.rename(tmp_path / "moved/file")
    moved.write_text("CONTENT")
    assert checksum(contents, moved) != "sha1$recorded"


@pytest.mark.parametrize(
    ("large", "settled", "reads_again"),
    [(1, -1, False), (1, 1000, True), (1000, -1, True)],
    ids=["large", "just changed", "small"],
)
def test_which_checksums_are_kept_between_runs(
    tmp_path: Path,
    reads: list[str],
    monkeypatch: pytest.MonkeyPatch,
    large: int,
    settled: int,
    reads_again: bool,
) -> None:
    monkeypatch.setattr(module, "LARGE_FILE_BYTES", large)
    monkeypatch.setattr(module, "SETTLED_AFTER_SECONDS", settled)
    path = tmp_path / "file"
    path.write_text("content")
    first = checksum(Contents(tmp_path / "checksums", tmp_path), path)
    assert checksum(Contents(tmp_path / "checksums", tmp_path), path) == first
    assert len(reads) == 1 + reads_again
    path.write_text("CONTENT")
    assert checksum(Contents(tmp_path / "checksums", tmp_path), path) != first


def test_an_empty_directory_is_something_given(step: Step, contents: Contents) -> None:
    empty = _with_sandbox(directories=("/var/lib/cwl/stg2/empty",))
    assert step_key(empty(step), contents).value != step_key(step, contents).value


def test_what_another_bind_hides_decides_nothing(
    step: Step, contents: Contents, tmp_path: Path
) -> None:
    """A link in a directory says where the host has what it leads to, which is shown instead."""
    shown = Bind(source=f"{tmp_path}/file", destination="/var/lib/cwl/stg1/directory/link")
    step = _with_sandbox(binds=(*step.sandbox.binds, shown))(step)
    values = []
    for target in ("member", "/elsewhere"):
        (tmp_path / "directory/link").unlink()
        (tmp_path / "directory/link").symlink_to(target)
        values.append(step_key(step, contents).value)
    (tmp_path / "file").write_text("another")
    values.append(step_key(step, contents).value)
    assert values[0] == values[1] != values[2]
