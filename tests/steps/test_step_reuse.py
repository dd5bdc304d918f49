# SPDX-License-Identifier: Apache-2.0
"""Results in the cache, without steps: who is first, and what cannot be kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cwl_udss.sandbox import OUTPUT_DIRECTORY, Bind
from cwl_udss.staging import work_directory
from cwl_udss.steps.cache import StepCache, Unkept, open_cache, show
from cwl_udss.steps.key import StepKey
from cwl_udss.surroundings.outputs import View

KEY = StepKey(value=64 * "0", description={})


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[StepCache]:
    with open_cache(tmp_path / "cache") as cache:
        yield cache


def outputs(cache: StepCache, name: str, source: Path) -> tuple[Path, tuple[Bind, ...]]:
    """An output directory with a file of that content, and a link to an input."""
    directory = cache.work / name
    (directory / "d").mkdir(parents=True)
    (directory / "d/file").write_text(name)
    (directory / "link").symlink_to(source)
    return directory, (
        Bind(source=str(directory), destination=OUTPUT_DIRECTORY, writable=True),
        Bind(source=str(source), destination="/var/lib/cwl/stg0/input"),
    )


def test_the_first_is_kept_and_the_second_left_as_it_is(cache: StepCache, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("input")
    first, first_binds = outputs(cache, "first", tmp_path / "input")
    second, second_binds = outputs(cache, "second", tmp_path / "input")
    kept = cache.keep(KEY, first, 0, first_binds)
    assert kept is not None
    assert not first.exists()
    assert cache.keep(KEY, second, 0, second_binds) is None
    assert (second / "d/file").read_text() == "second"
    assert (second / "link").read_text() == "input"
    assert sorted(os.listdir(cache.work)) == ["second"]
    found = cache.find(KEY)
    assert found == kept
    show(found, first, View(first_binds))
    assert (first / "d/file").read_text() == "first"
    assert (first / "link").readlink() == tmp_path / "input"


def test_a_result_that_cannot_be_published_stays_with_its_step(
    cache: StepCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "input").write_text("input")
    directory, binds = outputs(cache, "first", tmp_path / "input")

    def no_space(made: Path, path: Path) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cwl_udss.steps.cache.move_into_place", no_space)
    with pytest.raises(OSError, match="No space"):
        cache.keep(KEY, directory, 0, binds)
    assert (directory / "d/file").read_text() == "first"
    assert (directory / "link").read_text() == "input"
    assert cache.find(KEY) is None


def test_a_result_stays_with_its_step_until_it_is_on_the_disk(
    cache: StepCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes long on a network filesystem; a driver that dies meanwhile is to find it again."""
    (tmp_path / "input").write_text("input")
    directory, binds = outputs(cache, "first", tmp_path / "input")
    before = sorted(directory.rglob("*"))
    seen = []

    def sync_tree(path: Path) -> None:
        seen.append(path)
        assert sorted(directory.rglob("*")) == before

    monkeypatch.setattr("cwl_udss.steps.cache.sync_tree", sync_tree)
    assert cache.keep(KEY, directory, 0, binds) is not None
    assert directory in seen


def test_a_link_to_what_is_no_input_is_not_kept(cache: StepCache, tmp_path: Path) -> None:
    directory, binds = outputs(cache, "first", tmp_path / "input")
    with pytest.raises(Unkept, match="is no input"):
        cache.keep(KEY, directory, 0, binds[:1])
    assert (directory / "d/file").exists()


def test_a_result_that_was_replaced_meanwhile_is_put_back(cache: StepCache, tmp_path: Path) -> None:
    """As when NFS has shown the old one for a while."""
    (tmp_path / "input").write_text("input")
    kept = cache.keep(KEY, *_for_keep(cache, tmp_path))
    assert kept is not None
    cache._discard(kept.path)
    assert cache.find(KEY) == kept


def _for_keep(cache: StepCache, tmp_path: Path) -> tuple[Path, int, tuple[Bind, ...]]:
    directory, binds = outputs(cache, "first", tmp_path / "input")
    return directory, 0, binds


def test_a_result_says_when_it_was_last_of_use(cache: StepCache, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("input")
    kept = cache.keep(KEY, *_for_keep(cache, tmp_path))
    assert kept is not None
    os.utime(kept.path, (1, 1))
    assert cache.find(KEY)
    assert kept.path.stat().st_mtime > 1


def test_it_may_be_read_by_whom_its_directory_is_for(tmp_path: Path) -> None:
    """Output directories are private while a step runs."""
    (tmp_path / "input").write_text("input")
    (tmp_path / "cache/results").mkdir(parents=True)
    (tmp_path / "cache/results").chmod(0o750)
    with work_directory(tmp_path / "cache/work") as work:
        cache = StepCache(tmp_path / "cache", work)
        directory, binds = outputs(cache, "first", tmp_path / "input")
        directory.chmod(0o700)
        kept = cache.keep(KEY, directory, 0, binds)
    assert kept is not None
    modes = [path.stat().st_mode & 0o777 for path in (kept.path, kept.outputs)]
    assert modes == [0o750, 0o750]
