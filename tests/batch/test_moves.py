# SPDX-License-Identifier: Apache-2.0
"""What was moved out of a step's output directory is found where it is now, and nothing else."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from cwl_udss.batch.moves import Moves, moved_to
from cwl_udss.errors import StoreError
from cwl_udss.steps.delivery import list_outputs


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """A step's output directory."""
    made = tmp_path / "step" / "outputs"
    (made / "tables/of two").mkdir(parents=True)
    (made / "tables/of two/a").write_text("a")
    (made / "tables/b").write_text("b")
    (made / "tables/link").symlink_to("b")
    (made / "out\udce9").write_text("out")
    (tmp_path / "results").mkdir()
    return made


def content(directory: Path) -> dict[str, str]:
    return {name: (directory / name).read_text() for name in files(directory)}


def files(directory: Path) -> list[str]:
    return sorted(name for name in list_outputs(directory) if not (directory / name).is_dir())


def later(tmp_path: Path) -> Moves:
    """As the next driver knows it."""
    moves = Moves(tmp_path / "moves.json")
    moves.read()
    return moves


@pytest.mark.parametrize(
    "moved", [(), ("tables",), ("out\udce9",), ("tables", "out\udce9"), (".",)]
)
def test_as_if_nothing_had_been_moved(
    tmp_path: Path, outputs: Path, moved: tuple[str, ...]
) -> None:
    sizes, before = list_outputs(outputs), content(outputs)
    pairs = [
        (os.path.normpath(outputs / name), str(tmp_path / "results" / f"{name}_2"))
        for name in (moved or ("tables", "out\udce9"))
    ]
    Moves(tmp_path / "moves.json").note(pairs, tmp_path)
    for source, target in pairs[: len(moved)]:
        os.rename(source, target)
    for _ in range(2):  # who does it may die, too
        later(tmp_path).put_back(outputs, sizes)
        assert content(outputs) == before
        assert list_outputs(outputs) == sizes


def test_from_a_directory_that_was_there_before(tmp_path: Path, outputs: Path) -> None:
    sizes, before = list_outputs(outputs), content(outputs)
    place = tmp_path / "results/tables"
    place.mkdir()
    (place / "own").write_text("own")
    Moves(tmp_path / "moves.json").note([(str(outputs / "tables"), str(place))], tmp_path)
    (outputs / "tables/b").rename(place / "b")
    later(tmp_path).put_back(outputs, sizes)
    assert content(outputs) == before
    assert content(place) == {"own": "own"}


@pytest.mark.parametrize("theirs", ["more", "new"])
def test_what_others_have_put_there_stays(tmp_path: Path, outputs: Path, theirs: str) -> None:
    sizes = list_outputs(outputs)
    place = tmp_path / "results/out"
    Moves(tmp_path / "moves.json").note([(str(outputs / "out\udce9"), str(place))], tmp_path)
    (outputs / "out\udce9").unlink()
    place.write_text(theirs)
    os.utime(place, (time.time(), time.time() + (10 if len(theirs) == 3 else -10)))
    later(tmp_path).put_back(outputs, sizes)
    assert place.read_text() == theirs
    assert not (outputs / "out\udce9").exists()


def test_a_run_that_is_over(tmp_path: Path, outputs: Path) -> None:
    sizes = list_outputs(outputs)
    place = tmp_path / "results/tables"
    moves = Moves(tmp_path / "moves.json")
    moves.note([(str(outputs / "tables"), str(place))], tmp_path)
    shutil.move(outputs / "tables", place)
    moves.forget()
    later(tmp_path).put_back(outputs, sizes)
    assert place.exists()


def test_something_else_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "moves.json").write_text("[1]")
    with pytest.raises(StoreError, match=r"moves\.json is not what cwl-udss writes: remove it"):
        later(tmp_path)


def test_the_nearest_that_was_moved_says_where_it_is() -> None:
    places = {"/a": "/x", "/a/b": "/y"}
    found = [moved_to(path, places) for path in ("/a/c/d", "/a/b/c", "/a", "/ab", "/")]
    assert found == ["/x/c/d", "/y/c", "/x", None, None]
