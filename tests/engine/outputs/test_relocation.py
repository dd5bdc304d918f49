# SPDX-License-Identifier: Apache-2.0
"""Outputs are put where cwltool puts them, under the names that it gives them, for less."""

from __future__ import annotations

import functools
import itertools
import os
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
from schema_salad.ref_resolver import uri_file_path

from cwl_udss.engine.outputs.relocation import Prefixes, number_clashes, relocate_outputs
from cwl_udss.files import copies

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


class Deliver:
    """Puts outputs in their place as a run does that has made all that is in `step`."""

    def __init__(self, top: Path) -> None:
        self.step = top / "step"
        self.out = top / "out"
        for directory in (self.step, self.out):
            directory.mkdir()

    def __call__(self, outputs: Any, action: str = "move") -> dict[str, str]:
        """Return where each named file is, and what is in it; for directories what is there."""
        sources = {str(self.step)}
        self.outputs = relocate_outputs(outputs, str(self.out), sources, action, StdFsAccess(""))
        found: dict[str, str] = {}
        visit_class(self.outputs, ("File", "Directory"), functools.partial(self._note, found))
        return found

    def _note(self, found: dict[str, str], entry: Any) -> None:
        path = Path(uri_file_path(entry["location"]))
        names = ",".join(sorted(part["basename"] for part in entry.get("listing", ())))
        text = path.read_text() if entry["class"] == "File" else f"/{names}"
        found[str(path.relative_to(self.out))] = text


@pytest.fixture
def deliver(tmp_path: Path) -> Deliver:
    relocation = Deliver(tmp_path)
    (relocation.step / "d/sub").mkdir(parents=True)
    for name in ("d/x", "d/sub/y", "z"):
        (relocation.step / name).write_text(name)
    return relocation


def literal(name: str, *listing: Any) -> Any:
    """A Directory literal."""
    location = f"_:{name}-{next(NUMBERS)}"
    return {"class": "Directory", "location": location, "basename": name, "listing": [*listing]}


NUMBERS = itertools.count()
D = {"d": "/sub,x", "d/x": "d/x", "d/sub": "/y", "d/sub/y": "d/sub/y"}


@pytest.mark.parametrize("action", ["move", "copy"])
@pytest.mark.parametrize("first", range(6))
def test_an_output_that_is_part_of_another_is_there(
    deliver: Deliver, action: str, first: int
) -> None:
    """In whichever order they are named, by whichever words."""
    (deliver.step / "link").symlink_to("d")
    outputs: list[Any] = [
        directory_object(deliver.step / "d"),
        file_object(deliver.step / "d/x"),
        {**directory_object(deliver.step / "d"), "location": str(deliver.step / "d")},
        {"record": [directory_object(deliver.step / "d/sub"), None, "text"]},
        {**file_object(deliver.step / "d/x"), "location": str(deliver.step / "link/x")},
        {**directory_object(deliver.step / "link"), "basename": "d"},
    ]
    assert deliver([*outputs[first:], *outputs[:first]], action) == D
    assert contents(deliver.out) == {**D, "d": "directory", "d/sub": "directory"}


def test_one_object_that_is_several_outputs_is_named_in_all(deliver: Deliver) -> None:
    """Two outputs of a workflow can have one source."""
    same = directory_object(deliver.step / "d")
    assert deliver({"first": same, "second": same, "more": [same]}) == D
    assert deliver.outputs["first"] == deliver.outputs["second"] == deliver.outputs["more"][0]


@pytest.mark.parametrize("action", ["move", "copy"])
@pytest.mark.parametrize("order", [1, -1])
def test_what_is_in_a_literal_and_elsewhere_is_in_all_places(
    deliver: Deliver, action: str, order: int
) -> None:
    z, d = file_object(deliver.step / "z"), directory_object(deliver.step / "d")
    x = file_object(deliver.step / "d/x")
    outputs = [
        literal("one", z, literal("two", {**z}, {**d})),
        literal("three", {**x}, {**z, "basename": "renamed"}, literal("empty")),
        {**d},
    ]
    found = deliver(outputs[::order], action)
    files = {name: text for name, text in found.items() if not text.startswith("/")}
    assert {name: text for name, text in files.items() if name.startswith(("one", "three"))} == {
        "one/z": "z",
        "one/two/z": "z",
        "one/two/d/x": "d/x",
        "one/two/d/sub/y": "d/sub/y",
        "three/x": "d/x",
        "three/renamed": "z",
    }
    assert found["three/empty"] == "/"
    named = {str(path.relative_to(deliver.out)) for path in deliver.out.rglob("*")}
    assert named == set(found)


def test_outputs_go_where_others_have_been_before(deliver: Deliver) -> None:
    """Files replace files, also read-only ones; directories are merged, and their links replaced.
    A file does not replace a directory, nor the other way round."""
    for name in ("d/sub/old", "z/kept"):
        (deliver.out / name).parent.mkdir(parents=True)
        (deliver.out / name).write_text("old")
    for name in ("d/x", "text", "literal"):
        (deliver.out / name).write_text("old")
        (deliver.out / name).chmod(0o400)
    (deliver.out / "d/link").symlink_to("../text")
    (deliver.step / "d/link").symlink_to("x")
    text = {"class": "File", "location": "_:text", "basename": "text", "contents": "new"}
    outputs = [
        *(directory_object(deliver.step / "d"), file_object(deliver.step / "z")),
        *(text, literal("literal", {**text, "location": "_:other"})),
    ]
    found = deliver(outputs)
    assert found == {
        **D,
        **{"d": "/link,sub,x", "d/link": "d/x", "z_2": "z", "text": "new"},
        **{"literal_2": "/text", "literal_2/text": "new"},
    }
    assert (deliver.out / "d/sub/old").read_text() == "old"
    assert (deliver.out / "z/kept").read_text() == "old"
    assert (deliver.out / "literal").read_text() == "old"
    assert os.readlink(deliver.out / "d/link") == "x"


def test_a_file_of_a_literal_does_not_take_the_place_of_a_directory(deliver: Deliver) -> None:
    first = literal(
        "one",
        directory_object(deliver.step / "d"),
        {**directory_object(deliver.step / "d/sub"), "basename": "d"},
    )
    found = deliver([first])
    assert found["one"] == "/d,d"
    assert {name: text for name, text in found.items() if not text.startswith("/")} == {
        "one/d/x": "d/x",
        "one/d/sub/y": "d/sub/y",
        "one/d_2/y": "d/sub/y",
    }


@pytest.mark.parametrize("action", ["move", "copy"])
def test_what_links_lead_to_is_delivered_with_them(deliver: Deliver, action: str) -> None:
    """Also if it is delivered itself, or moved in between."""
    given = deliver.step.parent / "given"
    given.write_text("given")
    for link, target in (
        *(("d/given", given), ("d/z", "../z"), ("d/own", "sub/y"), ("d/gone", "nowhere")),
        *(("d/sub/up", ".."), ("d/all", "..")),
    ):
        (deliver.step / link).symlink_to(target)
    found = deliver(
        [
            file_object(deliver.step / "z"),
            directory_object(deliver.step / "d"),
            file_object(deliver.step / "d/own"),
        ],
        action,
    )
    assert found == {
        **D,
        **{"d": "/given,own,sub,x,z", "d/given": "given", "d/own": "d/sub/y", "d/z": "z"},
        **{"d/sub": "/up,y", "d/sub/up": "/", "z": "z"},
    }
    links = {name: os.readlink(deliver.out / "d" / name) for name in ("own", "sub/up")}
    assert links == {"own": "sub/y", "sub/up": ".."}
    assert not any(
        (deliver.out / "d" / name).is_symlink() for name in ("given", "z", "gone", "all")
    )
    assert given.read_text() == "given"


@pytest.mark.parametrize("action", ["move", "copy"])
def test_what_is_in_its_place_already_stays(deliver: Deliver, action: str) -> None:
    deliver.out = deliver.step
    assert deliver(
        [directory_object(deliver.step / "d"), file_object(deliver.step / "z")], action
    ) == {**D, "z": "z"}
    assert contents(deliver.step) == {**D, "d": "directory", "d/sub": "directory", "z": "z"}


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
