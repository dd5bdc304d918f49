# SPDX-License-Identifier: Apache-2.0
"""What becomes of a run's values, files, images and figures in a crate."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from crates import refers
from reports import begin, end, node, step

from cwl_udss.engine.replacements.calls import Calls
from cwl_udss.report.calls import Call
from cwl_udss.report.crate.crate import Crate, make_crate
from cwl_udss.report.crate.document import parameter_type
from cwl_udss.report.crate.output import UnwrittenCrate, write_crate
from cwl_udss.report.crate.profile import PROFILES
from cwl_udss.report.journal import JOURNAL, Journal, read_calls, read_journal
from cwl_udss.report.record import Status
from cwl_udss.report.run import Run

BEGAN = begin().started


def tool(name: str) -> dict[str, Any]:
    return {
        "class": "CommandLineTool",
        "id": f"#{name}",
        "inputs": [{"id": f"#{name}/in", "type": "Any"}],
        "outputs": [{"id": f"#{name}/out", "type": "File"}],
    }


def document(*names: str) -> dict[str, Any]:
    """A workflow of so many tools, each of which is given the workflow's input."""
    steps = [
        {
            "id": f"#main/{name}",
            "run": f"#{name}.cwl",
            "in": [{"id": f"#main/{name}/in", "source": "#main/in"}],
            "out": [f"#main/{name}/out"],
        }
        for name in names
    ]
    main = {
        "class": "Workflow",
        "id": "#main",
        "inputs": [{"id": "#main/in", "type": "Any"}],
        "outputs": [{"id": "#main/out", "type": "File", "outputSource": f"#main/{names[0]}/out"}],
        "steps": steps,
    }
    tools = [tool(f"{name}.cwl") for name in names]
    return {"cwlVersion": "v1.2", "$graph": [main, *tools]}


def call(number: int, path: str, value: Any, **more: Any) -> Call:
    facts: dict[str, Any] = {
        "parent": None,
        "status": Status.COMPLETED,
        "started": BEGAN + 1,
        "ended": BEGAN + 2,
        "problem": "",
        "inputs": {"in": value},
        "outputs": {},
    }
    return Call(**{**facts, "number": number, "path": path, **more})


def run_of(value: Any, *, steps: Any = None, calls: Any = None, **ended: Any) -> Run:
    """Of a workflow of one step."""
    record = replace(step(1, "make", 1, 2, digest=f"sha256:{64 * 'a'}"), call=1)
    return Run(
        begin=begin(node("make"), document=document("make")),
        steps=[record] if steps is None else steps,
        end=end(**{"inputs": {"in": value}, **ended}),
        now=BEGAN + 10,
        calls=[call(1, "make", value)] if calls is None else calls,
    )


def made(run: Run, directory: Path, profile: str = "0.6") -> Crate:
    assert run.begin.document is not None
    return make_crate(run, run.begin.document, PROFILES[profile], directory)


def value_of(value: Any, directory: Path) -> list[dict[str, Any]]:
    crate = made(run_of(value), directory)
    return [{"@id": x, **crate.entities[x]} for x in refers(crate.entities["#run"], "object")]


def test_profiles_differ_in_constants_only(tmp_path: Path) -> None:
    crates = [made(run_of("a"), tmp_path, profile) for profile in ("0.6", "0.5")]
    newer, older = (json.dumps(crate.entities, indent=0, sort_keys=True) for crate in crates)
    known = newer.replace('[\n"CreativeWork",\n"Profile"\n]', '"CreativeWork"')
    assert known.count("0.6") == 9
    known = known.replace("0.6", "0.5").replace("workflow-ro-crate/1.1", "workflow-ro-crate/1.0")
    known = known.replace(
        '"name": "Workflow RO-Crate",\n"version": "1.1"',
        '"name": "Workflow RO-Crate",\n"version": "1.0"',
    )
    assert known == older.replace('[\n"CreativeWork"\n]', '"CreativeWork"')


@pytest.mark.parametrize(
    ("image", "digest", "place", "facts"),
    [
        ("busybox", "sha256:" + 64 * "b", "", ("docker.io", "library/busybox", None)),
        ("a/b:1", "sha256:" + 64 * "b", "", ("docker.io", "a/b", "1")),
        ("localhost:5000/a", "sha256:" + 64 * "b", "", ("localhost:5000", "a", None)),
        ("quay.io/a/b:1@sha256:" + 64 * "b", "sha256:" + 64 * "b", "", ("quay.io", "a/b", "1")),
        ("ghcr.io/a/b/c:x-1", "", "/l/c.sif", ("ghcr.io", "a/b/c", "x-1")),
        ("/images/a.sif", "/images/a.sif, by name only", "/images/a.sif", (None, "a.sif", None)),
    ],
)
def test_images(
    tmp_path: Path, image: str, digest: str, place: str, facts: tuple[str | None, ...]
) -> None:
    record = replace(step(1, "make", 1, 2), image=image, digest=digest, image_place=place, call=1)
    crate = made(run_of("a", steps=[record]), tmp_path)
    [identifier] = refers(crate.entities["#action-1"], "containerImage")
    entity = crate.entities[identifier]
    assert tuple(entity.get(name) for name in ("registry", "name", "tag")) == facts
    assert entity.get("sha256") == (64 * "b" if digest.startswith("sha256:") else None)
    kind = "SIFImage" if place else "DockerImage"
    assert refers(entity, "additionalType") == [f"https://w3id.org/ro/terms/workflow-run#{kind}"]


@pytest.mark.parametrize(
    ("kind", "names", "is_required", "is_multiple"),
    [
        ("string", ["Text"], True, False),
        (["null", "int"], ["Integer"], False, False),
        (["int", "double", "null"], ["Float", "Integer"], False, False),
        ({"type": "array", "items": "File"}, ["File"], True, True),
        ({"type": "array", "items": ["string", "null"]}, ["Text"], False, True),
        ({"type": "array", "items": {"type": "array", "items": "int"}}, ["Integer"], True, True),
        (["null", {"type": "array", "items": "Directory"}], ["Dataset"], False, True),
        ({"type": "enum", "symbols": ["#main/x/a", "b"]}, ["Text"], True, False),
        ({"type": "record", "fields": []}, ["PropertyValue"], True, False),
        ("#types.yml/pair", ["PropertyValue"], True, False),
        ("Any", ["DataType"], True, False),
        ("null", ["DataType"], False, False),
    ],
)
def test_types_of_parameters(
    kind: Any, names: list[str], is_required: bool, is_multiple: bool
) -> None:
    found = parameter_type({"type": kind})
    assert (found.names, found.is_required, found.is_multiple) == (names, is_required, is_multiple)
    if "enum" in str(kind):
        assert found.symbols == ["a", "b"]


def test_values_that_are_no_files(tmp_path: Path) -> None:
    assert value_of(None, tmp_path) == []
    for value, shown in (
        (0, "0"),
        (False, "False"),
        ("", ""),
        ([], []),
        ([1, None], ["1", "null"]),
    ):
        [entity] = value_of(value, tmp_path)
        assert (entity["@type"], entity["value"]) == ("PropertyValue", shown)


def test_the_same_value_is_one(tmp_path: Path) -> None:
    """Of a parameter: true and 1 are two."""
    calls = [call(n, "make", value) for n, value in enumerate(("a", "a", 1, True), 1)]
    crate = made(run_of("a", steps=[], calls=calls), tmp_path)
    one, same, number, flag = (
        refers(crate.entities[f"#action-{n}"], "object") for n in range(1, 5)
    )
    assert one == same
    assert len({*one, *number, *flag}) == 3


def test_files_that_are_not_in_it(tmp_path: Path) -> None:
    """Nobody learns where they are on this machine, unless that is a web server."""
    gone = {"class": "File", "location": "file:///secret/place/gone.txt", "size": 3}
    [entity] = value_of(gone, tmp_path)
    assert entity["@id"].startswith("#file-")
    assert (entity["name"], entity["contentSize"]) == ("gone.txt", "3")
    assert "secret" not in json.dumps(entity)
    web = {"class": "File", "location": "https://example.org/a b.txt"}
    crate = made(run_of(web), tmp_path)
    assert "https://example.org/a%20b.txt" in crate.parts
    assert not any(addition.source for addition in crate.additions)


def test_names_that_are_no_text_or_are_taken(tmp_path: Path) -> None:
    there, crate_directory = tmp_path / "there", tmp_path / "crate"
    for name in ("1/x.txt", "2/x.txt"):
        (there / name).parent.mkdir(parents=True)
        (there / name).write_text(name)
    (crate_directory / "inputs").mkdir(parents=True)
    (crate_directory / "inputs/x.txt").write_text("mine")
    odd = there / "1" / "a\udcff.txt"
    odd.write_text("odd")
    files = [
        {"class": "File", "location": path.as_uri(), "basename": path.name}
        for path in (there / "1/x.txt", there / "2/x.txt", odd)
    ]
    run = run_of(files)
    assert run.begin.document is not None
    write_crate(run, crate_directory, "0.6")
    texts = {path.name: path.read_text() for path in (crate_directory / "inputs").iterdir()}
    assert texts == {"x.txt": "mine", "x_2.txt": "1/x.txt", "x_3.txt": "2/x.txt", "a?.txt": "odd"}
    for _ in range(2):  # it is there already
        write_crate(run, crate_directory, "0.6")
        assert len(list((crate_directory / "inputs").iterdir())) == 4


def test_what_ends_in_an_output_is_that(tmp_path: Path) -> None:
    """Also what a step has put into a directory that is one."""
    out = tmp_path / "out/made"
    out.mkdir(parents=True)
    (out / "x").write_text("x")
    directory = {"class": "Directory", "location": "file:///work/1/made", "basename": "made"}
    inside = {"class": "File", "location": "file:///work/1/made/x", "basename": "x"}
    calls = [
        call(1, "make", "a", outputs={"out": directory}),
        call(2, "make", inside),
    ]
    run = run_of(
        "a",
        steps=[],
        calls=calls,
        outputs={"out": {**directory, "location": out.as_uri()}},
        moved={"file:///work/1/made": out.as_uri()},
    )
    crate = made(run, tmp_path / "crate")
    assert refers(crate.entities["#action-1"], "result") == ["outputs/made/"]
    assert refers(crate.entities["#run"], "result") == ["outputs/made/"]
    assert refers(crate.entities["outputs/made/"], "hasPart") == ["outputs/made/x"]


def test_a_run_that_goes_on_and_one_of_which_little_is_known(tmp_path: Path) -> None:
    waiting = step(2, "make", 1, 2, index=2, status=Status.SUBMITTED)
    running = step(1, "make", 1, 2, index=1, status=Status.RUNNING)
    run = replace(run_of("a", steps=[running, waiting], calls=[]), end=None)
    crate = made(run, tmp_path)
    found = {x: entity for x, entity in crate.entities.items() if entity["@type"] == "CreateAction"}
    assert set(found) == {"#run", "#job-1"}
    assert {refers(x, "actionStatus")[0].rpartition("/")[2] for x in found.values()} == {
        "ActiveActionStatus"
    }
    with pytest.raises(UnwrittenCrate, match="is not known"):
        write_crate(Run(begin=begin(), steps=[], end=None, now=0), tmp_path / "crate", "0.6")


def test_calls_in_a_journal(tmp_path: Path) -> None:
    """A later driver numbers them anew: what an earlier one has told of is of no call."""
    first, second = Journal(tmp_path / JOURNAL), call(1, "make", {"class": "File"})
    first.begin(begin())
    first.add_call(call(1, "make", "old"))
    first.add(replace(step(1, "make", 0, 1), call=1))
    first.add(replace(step(2, "other", 0, 1), call=2))
    first.close()
    with (tmp_path / JOURNAL).open("ab") as stream:
        stream.write(b'{"call": {"number": 7}}\n{"call": 7}\n')
    later = Journal(tmp_path / JOURNAL)
    later.begin(begin(document=document("make")))
    later.add_call(second)
    later.add(replace(step(1, "make", 0, 1), call=1))
    later.close()
    assert read_calls(tmp_path / JOURNAL) == [second]
    found, steps, _ = read_journal(tmp_path / JOURNAL)
    assert found.document == document("make")
    assert [record.call for record in steps] == [1, None]


def test_calls_of_steps() -> None:
    told: list[Call] = []
    calls = Calls()
    calls.sinks.append(told.append)
    calls.secrets = ["hunter2"]
    located = {"class": "File", "location": "file:///x", "path": "/in/x", "contents": "of it"}
    literal = {"class": "File", "location": "_:1", "contents": "of it", "dirname": "/in"}
    one = calls.begin("call", None, {"a": [located, literal], "word": "is hunter2"})
    two = calls.begin("call/make", one, {})
    calls.end(two, {"out": 1}, Status.COMPLETED, "")
    calls.end(two, {}, Status.FAILED, "too late")
    calls.close()
    assert [(x.number, x.parent, x.status, x.outputs) for x in told] == [
        (2, 1, Status.COMPLETED, {"out": 1}),
        (1, None, Status.ABORTED, None),
    ]
    assert told[1].inputs == {
        "a": [
            {"class": "File", "location": "file:///x"},
            {"class": "File", "location": "_:1", "contents": "of it"},
        ],
        "word": "is (secret)",
    }


def test_many_steps_with_many_files_are_not_all_kept() -> None:
    calls, told = Calls(), []
    calls.sinks.append(told.append)
    files = {"in": [{"class": "File", "location": f"file:///{n}"} for n in range(20_000)]}
    began = time.process_time()
    for _ in range(40):
        calls.end(calls.begin("make", None, files), {}, Status.COMPLETED, "")
    assert time.process_time() - began < 5
    kept = [x.inputs is not None for x in told]
    assert kept == sorted(kept, reverse=True)
    assert 0 < sum(kept) < 40
