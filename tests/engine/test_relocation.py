# SPDX-License-Identifier: Apache-2.0
"""Outputs are put where cwltool puts them, under the names that it gives them, for less."""

from __future__ import annotations

import functools
import itertools
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cwltool.process
import pytest
from cwltool.pathmapper import PathMapper
from cwltool.stdfsaccess import StdFsAccess
from cwltool.utils import visit_class
from effort import LINEAR, QUADRATIC, growth
from hypothesis import given
from hypothesis import strategies as st

from cwl_udss import copies
from cwl_udss.engine.relocation import Prefixes, number_clashes, relocate_outputs

NAMES = ("a", "a_2", "b", "d")


class Outputs:
    """Any outputs of steps: files that clash, directories, literals, what is in no step's."""

    def __init__(self, top: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._directories = [top / name for name in ("step1", "step10", "step2", "elsewhere")]
        for directory in self._directories:
            directory.mkdir(parents=True)
        self.sources = {str(top / "step1"), str(top / "step2")}
        self.value = {f"out{number}": self._any() for number in range(4)}

    def _any(self) -> Any:
        kinds = (self._file, self._file, self._directory, self._literal, self._list, self._link)
        return self._random.choice(kinds)()

    def _list(self) -> Any:
        return [self._any() for _ in range(self._random.randrange(4))]

    def _place(self) -> Path:
        path: Path = self._random.choice(self._directories) / str(next(self._numbers))
        path.mkdir()
        return path / self._random.choice(NAMES)

    def _file(self) -> Any:
        path = self._place()
        path.write_text(str(path))
        file = file_object(path)
        if self._random.random() < 0.3:
            beside = path.with_name(f"{path.name}.idx")
            beside.write_text(str(beside))
            file["secondaryFiles"] = [file_object(beside)]
        return file

    def _link(self) -> Any:
        path = self._place()
        file = self._file()
        path.symlink_to(file["location"].removeprefix("file://"))
        return [file_object(path), file]

    def _directory(self) -> Any:
        path = self._place()
        (path / "inner").mkdir(parents=True)
        (path / "inner/file").write_text(str(path))
        (path / self._random.choice(NAMES)).write_text("in a directory")
        return directory_object(path)

    def _literal(self) -> Any:
        number = next(self._numbers)
        file = {"class": "File", "location": f"_:{number}", "basename": "a", "contents": "text"}
        name = self._random.choice(NAMES)
        listing = {"class": "Directory", "location": f"_:d{number}", "basename": name}
        return self._random.choice((file, {**listing, "listing": [file]}))


def file_object(path: Path) -> dict[str, Any]:
    return {"class": "File", "location": f"file://{path}", "basename": path.name}


def directory_object(path: Path) -> dict[str, Any]:
    return {"class": "Directory", "location": f"file://{path}", "basename": path.name}


def contents(top: Path) -> dict[str, str]:
    """All that is below a directory."""
    return {
        str(path.relative_to(top)): path.read_text() if path.is_file() else "directory"
        for path in sorted(top.rglob("*"))
    }


@pytest.mark.parametrize("action", ["move", "copy", "leave"])
@pytest.mark.parametrize("seed", range(50))
def test_outputs_are_relocated_as_by_cwltool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, action: str
) -> None:
    with_copies = SimpleNamespace(**{**vars(shutil), **vars(copies)})
    monkeypatch.setattr(cwltool.process, "shutil", with_copies)  # as tool.extend_cwltool()
    top = tmp_path / "top"
    results = []
    for relocate in (cwltool.process.relocateOutputs, relocate_outputs):
        outputs = Outputs(top, seed)
        clash = directories_clash(outputs.value)
        target = top / "outputs"
        target.mkdir()
        arguments = (str(target), outputs.sources, action, StdFsAccess(""))
        try:
            result = relocate(outputs.value, *arguments)  # type: ignore[operator]
        # A directory where there is a file, a literal twice, a file with other secondary files:
        # cwltool has no answer.
        except (OSError, KeyError):
            assert relocate is not relocate_outputs
            result = None
        results.append((result, contents(top)))
        shutil.rmtree(top)
    theirs, ours = results
    assert ours == theirs or clash or theirs[0] is None


def directories_clash(outputs: Any) -> bool:
    """Whether anything has the same name as a directory."""
    names: list[tuple[str, str]] = []
    visit_class(outputs, ("File", "Directory"), lambda x: names.append((x["basename"], x["class"])))
    directories = [name for name, kind in names if kind == "Directory"]
    return len(directories) > len(set(directories)) or bool(
        set(directories) & {name for name, kind in names if kind == "File"}
    )


@pytest.mark.parametrize("action", ["move", "copy"])
def test_directories_with_files_of_the_same_name_are_all_kept(tmp_path: Path, action: str) -> None:
    files = ("one/results/table", "two/results/table", "three/results/table", "four/results/other")
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(name)
    outputs = {"out": [directory_object((tmp_path / name).parent) for name in files]}
    sources = {str((tmp_path / name).parent) for name in files}
    target = tmp_path / "outputs"
    target.mkdir()
    result = relocate_outputs(outputs, str(target), sources, action, StdFsAccess(""))
    # Where nothing is lost by it they are merged, as cwltool does.
    last = "results" if action == "move" else "results_4"
    assert [x["location"].rpartition("/")[2] for x in result["out"]] == [
        *("results", "results_2", "results_3", last)
    ]
    assert {x["listing"][0]["location"] for x in result["out"]} == {
        f"file://{path}" for path in target.glob("*/*")
    }
    assert [(target / f"results{n}/table").read_text() for n in ("", "_2", "_3")] == [*files[:3]]
    assert (target / last / "other").read_text() == files[3]


def test_what_a_text_begins_with() -> None:
    prefixes = Prefixes(["/tmp/a", "/tmp/bc"])
    assert prefixes.begin("/tmp/ab")
    assert prefixes.begin("/tmp/bc")
    assert not prefixes.begin("/tmp/b")
    assert not Prefixes([]).begin("/tmp/a")
    assert Prefixes([""]).begin("/tmp/a")


class Counting(set[str]):
    """A set that counts how often one of its items is looked at in turn."""

    looks = 0

    def __iter__(self) -> Iterator[str]:
        for item in super().__iter__():
            self.looks += 1
            yield item


def looks_at_directories(relocate: Callable[..., Any], top: Path, size: int) -> int:
    """Relocate a file of each of so many steps; return how often one's directory is looked at."""
    sources = Counting()
    files = []
    for number in range(size):
        path = top / f"step{number}/file{number}"
        path.parent.mkdir(parents=True)
        path.touch()
        files.append(file_object(path))
        sources.add(str(path.parent))
    (top / "outputs").mkdir()
    relocate({"out": files}, str(top / "outputs"), sources, "move", StdFsAccess(""))
    return sources.looks


def test_directories_of_steps_are_not_looked_at_for_each_file(tmp_path: Path) -> None:
    assert looks_at_directories(relocate_outputs, tmp_path / "ours", 50) <= 50
    theirs = looks_at_directories(cwltool.process.relocateOutputs, tmp_path / "theirs", 50)
    assert theirs > 50 * QUADRATIC


# Where each file is and where it is to be.
ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from(["a", "a_2", "a_2_2", "a_3", "b"]),
        st.sampled_from(["File", "Directory", "CreateFile", None]),
    ),
    max_size=20,
)


def mapper_of(entries: Iterable[tuple[str, str, str | None]]) -> PathMapper:
    mapper = PathMapper([], "", "")
    for number, (source, target, kind) in enumerate(entries):
        mapper.update(str(number), source, target, kind, False)
    return mapper


def number_as_cwltool(mapper: PathMapper) -> None:
    """Nothing else, as no entry is to be staged."""
    cwltool.process.stage_files(mapper, symlink=False, fix_conflicts=True)


@given(ENTRIES)
def test_files_that_clash_have_the_names_that_cwltool_gives(entries: Any) -> None:
    ours, theirs = mapper_of(entries), mapper_of(entries)
    number_clashes(ours)
    number_as_cwltool(theirs)
    assert list(ours.items()) == list(theirs.items())


def test_each_file_that_clashes_costs_the_same() -> None:
    def prepare(number: Callable[[PathMapper], None], size: int) -> Callable[[], object]:
        return functools.partial(number, mapper_of((str(n), "a", "File") for n in range(size)))

    assert growth(functools.partial(prepare, number_clashes), 50) < LINEAR
    assert growth(functools.partial(prepare, number_as_cwltool), 50) > QUADRATIC
