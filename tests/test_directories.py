# SPDX-License-Identifier: Apache-2.0
"""What a step is given of a Directory is what it was to the step that made it, and so is what is
delivered."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import Command
from directories import DIRECTORY, INDEX, INDEX_SEEN, LOOK, reader, seen, tool, workflow


def expression(text: str, **fields: Any) -> dict[str, Any]:
    return {
        "class": "ExpressionTool",
        "requirements": {"InlineJavascriptRequirement": {}},
        "inputs": {"d": "Directory"},
        "outputs": {"d": "Directory"},
        "expression": text,
        **fields,
    }


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a run ended."""

    code: int
    log: str
    outputs: dict[str, Any]


@pytest.fixture
def run(run_command: Command, tmp_path: Path) -> Callable[..., Done]:
    """Run a document of CWL; outputs are in `out`."""

    def run(document: dict[str, Any], job: dict[str, Any] | None = None, *options: str) -> Done:
        (tmp_path / "document.cwl").write_text(json.dumps({"cwlVersion": "v1.2", **document}))
        (tmp_path / "job.json").write_text(json.dumps(job or {}))
        arguments = ("--udss", "--disable-color", "--outdir", "out", *options)
        done = run_command("cwltool", *arguments, "document.cwl", "job.json")
        outputs = json.loads(done.stdout) if done.returncode == 0 else {}
        return Done(code=done.returncode, log=done.stderr, outputs=outputs)

    return run


def tree(top: Path) -> dict[str, str]:
    """All that is below a directory, by what reading it gives; links to directories as links."""
    found = {}
    for parent, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = Path(parent, name)
            if path.is_dir():
                text = f"-> {os.readlink(path)}" if path.is_symlink() else "/"
            else:
                text = path.read_text()
            found[str(path.relative_to(top))] = text
    return found


@pytest.mark.parametrize("options", [(), ("--parallel",), ("--copy-outputs",)])
def test_a_step_sees_of_a_directory_what_the_step_saw_that_made_it(
    run: Callable[..., Done], tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Whichever way it comes: as an input, staged to be written to or not, passed on by steps and
    expressions."""
    (tmp_path / "ref.fa").write_text("ACGT")
    stage = {"InitialWorkDirRequirement": {"listing": ["$(inputs.d)"]}}
    writable = {
        "InitialWorkDirRequirement": {"listing": [{"entry": "$(inputs.d)", "writable": True}]}
    }
    through = {"inputs": {"d": "Directory"}}
    document = workflow(
        {"ref": "File"},
        {
            "make": (INDEX, {"ref": "ref"}),
            "use": (reader(LOOK), {"d": "make/d"}),
            "pass": (tool("ls d/own", requirements=stage, **through), {"d": "make/d"}),
            "express": (expression("$({d: inputs.d})"), {"d": "pass/d"}),
            "late": (reader(LOOK, stdout="late.txt"), {"d": "express/d"}),
            "copy": (tool("echo new >> d/own", requirements=writable, **through), {"d": "pass/d"}),
            "changed": (reader(LOOK, stdout="changed.txt"), {"d": "copy/d"}),
            "literal": (
                expression(
                    '${return {d: {class: "Directory", basename: "l", listing: [inputs.d]}}}'
                ),
                {"d": "make/d"},
            ),
            "in_literal": (reader(f"cd $1; set d; {LOOK}", stdout="in.txt"), {"d": "literal/d"}),
        },
        {
            **{"seen": "use/seen", "late": "late/seen", "changed": "changed/seen"},
            **{"in": "in_literal/seen", "index": "make/d"},
        },
        **dict.fromkeys(("seen", "late", "changed", "in"), "File"),
    )
    done = run(document, {"ref": {"class": "File", "path": "ref.fa"}}, *options)
    assert done.code == 0, done.log
    for name, problem in {
        "gone": "a link that leads nowhere",
        "image": "a link out of the output directory",
        "temporary": "a link out of the output directory",
    }.items():
        assert f"removed /var/spool/cwl/d/{name}: {problem}" in done.log
    out = tmp_path / "out"
    for name in ("seen", "late", "in"):
        assert seen((out / f"{name}.txt").read_text()) == INDEX_SEEN
    changed = seen((out / "changed.txt").read_text())
    assert changed == {
        name: f"{text} new" if text == "index" else text for name, text in INDEX_SEEN.items()
    }
    assert {name: (out / "d" / name).read_text().strip() for name in INDEX_SEEN} == INDEX_SEEN
    # What is delivered needs nothing but itself.
    shutil.move(out / "d", tmp_path / "elsewhere")
    shutil.rmtree(out)
    (tmp_path / "ref.fa").unlink()
    assert {
        name: (tmp_path / "elsewhere" / name).read_text().strip() for name in INDEX_SEEN
    } == INDEX_SEEN
    assert os.readlink(tmp_path / "elsewhere/X11") == "."


def test_a_directory_with_links_is_found_in_the_cache(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "ref.fa").write_text("ACGT")
    document = workflow(
        {"ref": "File"},
        {"make": (INDEX, {"ref": "ref"}), "use": (reader(LOOK), {"d": "make/d"})},
        {"seen": "use/seen", "index": "make/d"},
        seen="File",
    )
    for name, content, hits in (
        ("ref.fa", "ACGT", 0),
        ("ref.fa", "ACGT", 2),
        ("moved/ref.fa", "ACGT", 2),
        ("ref.fa", "TTTT", 0),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
        done = run(document, {"ref": {"class": "File", "path": name}}, "--cachedir", "cache")
        assert done.code == 0, done.log
        assert done.log.count("result from the cache") == hits
        expected = {**INDEX_SEEN, "ref.fa": content, "input": content}
        assert seen((tmp_path / "out/seen.txt").read_text()) == expected
        found = {file: (tmp_path / "out/d" / file).read_text().strip() for file in INDEX_SEEN}
        assert found == expected
        shutil.rmtree(tmp_path / "out")


def test_links_to_what_is_beside_a_directory_are_found_in_the_cache(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    make = tool("mkdir d o p; echo in o > o/x; ln -s ../o/x d/x; ln -s ../o d/o; touch d/own")
    document = workflow(
        {},
        {"make": (make, {}), "use": (reader("cat $1/x $1/o/x"), {"d": "make/d"})},
        {"seen": "use/seen", "d": "make/d"},
        seen="File",
    )
    for hits in (0, 2):
        done = run(document, None, "--cachedir", "cache")
        assert done.code == 0, done.log
        assert done.log.count("result from the cache") == hits
        assert (tmp_path / "out/seen.txt").read_text() == "in o\nin o\n"
        assert tree(tmp_path / "out/d") == {"x": "in o\n", "o": "/", "o/x": "in o\n", "own": ""}
        shutil.rmtree(tmp_path / "out")


def test_a_listing_has_what_the_links_of_a_directory_lead_to(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    names = "$(inputs.d.listing.map(function(x) {return x.basename + x.class[0]}).sort().join())"
    document = workflow(
        {},
        {
            "make": (
                tool(
                    "mkdir d o; touch o/x; ln -s ../o d/o; ln -s ../o/x d/x; ln -s . d/X11; "
                    "ln -s . d/dot"
                ),
                {},
            ),
            "list": (
                tool(
                    "echo $1",
                    names,
                    inputs={"d": "Directory"},
                    stdout="seen.txt",
                    outputs={"seen": "stdout"},
                    requirements={
                        "LoadListingRequirement": {"loadListing": "deep_listing"},
                        "InlineJavascriptRequirement": {},
                    },
                ),
                {"d": "make/d"},
            ),
        },
        {"seen": "list/seen", "d": "make/d"},
        seen="File",
    )
    done = run(document)
    assert done.code == 0, done.log
    assert (tmp_path / "out/seen.txt").read_text() == "X11D,dotD,oD,xF\n"
    assert tree(tmp_path / "out/d") == {"o": "/", "o/x": "", "x": "", "X11": "-> .", "dot": "-> ."}


DELIVERED = {
    "leads nowhere": ("ln -s nowhere d/gone", {}),
    "is its own": ("ln -s gone d/gone", {}),
    "leads to its directory": ("ln -s . d/X11", {"X11": "-> ."}),
    "leads to a directory above": ("mkdir d/e; ln -s .. d/e/up", {"e": "/", "e/up": "-> .."}),
    "leads to the output directory": ("ln -s .. d/up", {}),
    "leads to a file beside": ("mkdir o; echo 2 > o/x; ln -s ../o/x d/x", {"x": "2\n"}),
    "leads to a directory beside": (
        "mkdir o; echo 2 > o/x; ln -s ../o d/o",
        {"o": "/", "o/x": "2\n"},
    ),
    "leads there and back": (
        "mkdir o; echo 2 > o/x; ln -s ../d o/back; ln -s ../o d/o",
        {"o": "/", "o/x": "2\n"},
    ),
    "leads to what links lead out of": (
        "mkdir o p; echo 2 > p/x; ln -s ../p o/p; ln -s ../o d/o",
        {"o": "/", "o/p": "/", "o/p/x": "2\n"},
    ),
    "was given by its whole path": ("ln -s $PWD/d/result d/x", {"x": "hours of work\n"}),
}


@pytest.mark.parametrize("option", ["--move-outputs", "--copy-outputs", "--leave-outputs"])
def test_a_directory_is_delivered_with_all_that_can_be_whatever_its_links_are(
    run: Callable[..., Done], tmp_path: Path, option: str
) -> None:
    steps = {
        f"s{number}": (tool(f"mkdir d; echo hours of work > d/result; {script}"), {})
        for number, (script, _) in enumerate(DELIVERED.values())
    }
    done = run(workflow({}, steps, {name: f"{name}/d" for name in steps}), None, option)
    assert done.code == 0, done.log
    for (kind, (_, expected)), output in zip(DELIVERED.items(), done.outputs.values(), strict=True):
        place = Path(output["location"].removeprefix("file://"))
        assert (place / "result").read_text() == "hours of work\n", kind
        if option == "--leave-outputs":  # it is left with what is beside it
            continue
        assert tree(place) == {"result": "hours of work\n", **expected}, kind
        tops = {name for name in (*expected, "result") if "/" not in name}
        assert {entry["basename"] for entry in output["listing"]} == tops, kind
    assert "/d/gone: a link that leads nowhere" in done.log


EMPTY = {"class": "Directory", "basename": "empty", "listing": []}
TEXT = {"class": "File", "basename": "f", "contents": "x"}


def literal(name: str, *listing: Any) -> dict[str, Any]:
    return {"class": "Directory", "basename": name, "listing": list(listing)}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (literal("d"), ""),
        (literal("d", TEXT, EMPTY), "d/empty d/f"),
        (literal("d", literal("e", EMPTY)), "d/e d/e/empty"),
        (literal("d", literal("e", literal("g", TEXT))), "d/e d/e/g d/e/g/f"),
        (literal("a dir", literal("#é %20"), {**TEXT, "basename": "?"}), "a_dir/#é_%20 a_dir/?"),
        (
            literal(
                "d", {"class": "File", "path": "a"}, literal("s", {"class": "File", "path": "a"})
            ),
            "d/a d/s d/s/a",
        ),
        (
            literal(
                "d",
                {"class": "Directory", "path": "in"},
                literal("s", {"class": "Directory", "path": "in"}),
            ),
            "d/in d/in/b d/s d/s/in d/s/in/b",
        ),
        (
            literal(
                "d", {"class": "File", "path": "a"}, {"class": "File", "path": "a", "basename": "c"}
            ),
            "d/a d/c",
        ),
        (literal("d", {"class": "File", "path": "a", "secondaryFiles": [EMPTY]}), "d/a d/empty"),
    ],
)
def test_a_directory_literal_is_what_it_says(
    run: Callable[..., Done], tmp_path: Path, given: dict[str, Any], expected: str
) -> None:
    """As an input, staged to be written to or not, made by an expression, and as an output."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/b").write_text("B")
    (tmp_path / "a").write_text("A")
    script = 'cd "$1/.." && find . -mindepth 1 | sort | tr "\\n " " _" | sed s,[.]/,,g'
    stage = {"InitialWorkDirRequirement": {"listing": ["$(inputs.d)"]}}
    writable = {
        "InitialWorkDirRequirement": {"listing": [{"entry": "$(inputs.d)", "writable": True}]}
    }
    document = workflow(
        {"d": "Directory"},
        {
            "see": (reader(script), {"d": "d"}),
            "express": (expression("$({d: inputs.d})"), {"d": "d"}),
            "see_expressed": (reader(script, stdout="expressed.txt"), {"d": "express/d"}),
            "stage": (reader(script, stdout=".s", requirements=stage), {"d": "d"}),
            "write": (reader(script, stdout=".w", requirements=writable), {"d": "d"}),
        },
        {
            "seen": "see/seen",
            "expressed": "see_expressed/seen",
            "d": "express/d",
            "staged": "stage/seen",
            "writable": "write/seen",
        },
        seen="File",
        expressed="File",
        staged="File",
        writable="File",
    )
    done = run(document, {"d": given})
    assert done.code == 0, done.log
    name = given["basename"].replace(" ", "_")
    for file, more in (("seen.txt", ""), ("expressed.txt", ""), (".s", ".s "), (".w", ".w ")):
        assert (tmp_path / "out" / file).read_text() == f"{more}{name} {expected}".strip() + " "
    found = tree(tmp_path / "out" / given["basename"])
    assert sorted(f"{name}/{x.replace(' ', '_')}" for x in found) == sorted(expected.split())
    assert all(text in ("/", "A", "B", "x") for text in found.values())
    assert len(done.outputs["d"]["listing"]) == len(given["listing"])


def test_literals_by_default_scattered_and_given_twice(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("A")
    look = reader("cd $1/.. && find * | sort | tr '\\n' ' '", stdout="$(inputs.d.basename).txt")
    both = reader(
        "ls -d $1 $2 | wc -l",
        stdout="both.txt",
        inputs={"d": "Directory", "e": {"type": "Directory", "default": literal("e", EMPTY)}},
        arguments=["$(inputs.d.path)", "$(inputs.e.path)"],
    )
    document = workflow(
        {"ds": "Directory[]", "one": {"type": "Directory", "default": literal("one")}},
        {
            "look": (look, {"d": "ds"}, {"scatter": "d"}),
            "one": (look, {"d": "one"}),
            "twice": (both, {"d": "one", "e": "one"}),
            "default": (
                reader(
                    "ls $1",
                    stdout="default.txt",
                    **{"inputs": both["inputs"], "arguments": ["$(inputs.e.path)"]},
                ),
                {"d": "one"},
            ),
        },
        {"all": "look/seen", "one": "one/seen", "twice": "twice/seen", "default": "default/seen"},
        all="File[]",
        one="File",
        twice="File",
        default="File",
    )
    same = {"class": "File", "path": "a"}
    done = run(document, {"ds": [literal("x"), literal("y", EMPTY, same), literal("z", TEXT)]})
    assert done.code == 0, done.log
    texts = {path.stem: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert texts == {
        "x": "x ",
        "y": "y y/a y/empty ",
        "z": "z z/f ",
        "one": "one ",
        "default": "empty\n",
        "both": "2\n",
    }


def test_one_file_staged_under_several_names(run: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "a").write_text("A")
    listing = [
        {"entryname": "x", "entry": "$(inputs.a)"},
        {"entryname": "sub/y", "entry": "$(inputs.a)"},
        {"entryname": "z", "entry": "$(inputs.a)", "writable": True},
    ]
    document = tool(
        "cat x sub/y; echo + >> z; cat z; touch x 2>/dev/null || echo no; rm -f x || true",
        inputs={"a": "File"},
        requirements={"InitialWorkDirRequirement": {"listing": listing}},
        stdout="seen.txt",
        outputs={
            "seen": "stdout",
            "all": {"type": "File[]", "outputBinding": {"glob": ["x", "sub/y", "z"]}},
        },
    )
    done = run(document, {"a": {"class": "File", "path": "a"}})
    assert done.code == 0, done.log
    assert (tmp_path / "out/seen.txt").read_text() == "AAA+\nno\n"
    texts = [Path(file["path"]).read_text() for file in done.outputs["all"]]
    assert texts == ["A", "A", "A+\n"]


def test_secondary_files_that_inputs_share_are_beside_each(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    for name in ("a", "b", "dict"):
        (tmp_path / name).write_text(name)
    files = [
        {"class": "File", "path": name, "secondaryFiles": [{"class": "File", "path": "dict"}]}
        for name in ("a", "b")
    ]
    document = tool(
        "for f; do cat $(dirname $f)/dict; done",
        inputs={"files": {"type": "File[]", "inputBinding": {}}},
        stdout="seen.txt",
        outputs={"seen": "stdout"},
    )
    done = run(document, {"files": files})
    assert done.code == 0, done.log
    assert (tmp_path / "out/seen.txt").read_text() == "dictdict"


@pytest.mark.parametrize(
    "listing", [[TEXT, {**TEXT, "contents": "y"}], [TEXT, literal("f", EMPTY)]]
)
def test_a_name_that_occurs_twice_in_a_listing_is_an_error(
    run: Callable[..., Done], listing: list[Any]
) -> None:
    done = run(reader("ls $1"), {"d": literal("d", *listing)})
    assert done.code == 1
    assert "names in a directory must differ" in " ".join(done.log.split())
    assert "Traceback" not in done.log


def test_a_directory_with_many_links(run: Callable[..., Done], tmp_path: Path) -> None:
    """As a step leaves one that gathers its inputs."""
    count = 300
    (tmp_path / "in").mkdir()
    for number in range(count):
        (tmp_path / f"in/{number}").write_text(f"{number}\n")
    gather = tool(
        'mkdir d; touch d/own; ln -s "$@" d',
        inputs={"files": {"type": "File[]", "inputBinding": {}}},
    )
    document = workflow(
        {"files": "File[]"},
        {
            "gather": (gather, {"files": "files"}),
            "sum": (
                reader("ls $1 | wc -l; cat $1/* | awk '{n += $1} END {print n}'"),
                {"d": "gather/d"},
            ),
        },
        {"seen": "sum/seen", "d": "gather/d"},
        seen="File",
    )
    files = [{"class": "File", "path": f"in/{number}"} for number in range(count)]
    done = run(document, {"files": files})
    assert done.code == 0, done.log
    text = (tmp_path / "out/seen.txt").read_text()
    assert text.split() == [str(count + 1), str(sum(range(count)))]
    assert len(tree(tmp_path / "out/d")) == count + 1


def test_the_links_of_a_persons_own_directory_show_nothing_else_of_the_host(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    """Whoever has made it, an archive from somewhere say, is not to choose what a step sees."""
    (tmp_path / "d").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "d/file").write_text("file")
    for name, target in (("link", tmp_path / "secret"), ("up", ".."), ("gone", "nowhere")):
        (tmp_path / "d" / name).symlink_to(target)
    listed = {"glob": "d", "loadListing": "deep_listing"}
    passing = tool(
        "true",
        inputs={"d": "Directory"},
        requirements={
            "InitialWorkDirRequirement": {"listing": ["$(inputs.d)"]},
            "InlineJavascriptRequirement": {},
        },
        outputs={
            "names": {
                "type": "string[]",
                "outputBinding": {
                    **listed,
                    "outputEval": "$(self[0].listing.map(function(x) {return x.basename}))",
                },
            }
        },
    )
    document = workflow(
        {"d": "Directory"},
        {
            "make": (
                tool("mkdir d; ln -s $1 d/d", "$(inputs.d.path)", inputs={"d": "Directory"}),
                {"d": "d"},
            ),
            "see": (reader("cat $1/file $1/link $1/up/secret"), {"d": "d"}),
            "pass": (passing, {"d": "d"}),
            "linked": (reader("cat $1/d/file $1/d/link", stdout="linked.txt"), {"d": "make/d"}),
        },
        {"seen": "see/seen", "linked": "linked/seen", "names": "pass/names"},
        seen="File",
        linked="File",
        names="string[]",
    )
    for step in ("see", "linked"):
        document["steps"][step]["run"]["successCodes"] = [1]
    done = run(document, {"d": {"class": "Directory", "path": "d"}})
    assert done.code == 0, done.log
    assert done.outputs["names"] == ["file"]
    for name in ("seen.txt", "linked.txt"):
        assert (tmp_path / "out" / name).read_text() == "file"


def test_literals_that_a_tool_returns(run: Callable[..., Done], tmp_path: Path) -> None:
    listing = "self.concat([{class: 'Directory', basename: 'sub', listing: [self[0]]}, %s])"
    empty = "{class: 'Directory', basename: 'empty', listing: []}"
    text = "{class: 'File', basename: 'text', contents: 'text'}"
    made = f"{{class: 'Directory', basename: 'l', listing: {listing % empty}}}"
    make = tool(
        "echo a > a; echo b > b",
        requirements={"InlineJavascriptRequirement": {}},
        outputs={
            "d": {
                "type": "Directory",
                "outputBinding": {"glob": ["a", "b"], "outputEval": f"$({made})"},
            },
            "f": {"type": "File", "outputBinding": {"outputEval": f"$({text})"}},
        },
    )
    document = workflow(
        {},
        {"make": (make, {}), "use": (reader("cd $1; find * | sort"), {"d": "make/d"})},
        {"d": "make/d", "f": "make/f", "seen": "use/seen"},
        f="File",
        seen="File",
    )
    done = run(document)
    assert done.code == 0, done.log
    assert tree(tmp_path / "out/l") == {
        "a": "a\n",
        "b": "b\n",
        "sub": "/",
        "sub/a": "a\n",
        "empty": "/",
    }
    assert (tmp_path / "out/text").read_text() == "text"
    assert (tmp_path / "out/seen.txt").read_text().split() == ["a", "b", "empty", "sub", "sub/a"]


@pytest.mark.parametrize("writable", [False, True])
def test_literals_that_a_tool_is_given_and_passes_on(
    run: Callable[..., Done], tmp_path: Path, writable: bool
) -> None:
    (tmp_path / "a").write_text("A")
    entries = [{"entry": f"$(inputs.{name})", "writable": writable} for name in "df"]
    passing = tool(
        "cat d/a d/s/a f; echo new > d/new",
        inputs={"d": "Directory", "f": "File"},
        requirements={"InitialWorkDirRequirement": {"listing": entries}},
        stdout="passing.txt",
        outputs={
            "d": {"type": "Directory", "outputBinding": {"glob": "d"}},
            "f": {"type": "File", "outputBinding": {"glob": "f"}},
            "seen": "stdout",
        },
    )
    document = workflow(
        {"d": "Directory", "f": "File"},
        {
            "pass": (passing, {"d": "d", "f": "f"}),
            "use": (reader("cd $1; find . -type f | sort; cat */a"), {"d": "pass/d"}),
        },
        {"d": "pass/d", "f": "pass/f", "passed": "pass/seen", "seen": "use/seen"},
        f="File",
        passed="File",
        seen="File",
    )
    same = {"class": "File", "path": "a"}
    job = {"d": literal("d", same, literal("s", same), EMPTY), "f": TEXT}
    for options in ((), ("--cachedir", "cache"), ("--cachedir", "cache")):
        done = run(document, job, *options)
        assert done.code == 0, done.log
        check_passed_on(tmp_path / "out")
        shutil.rmtree(tmp_path / "out")
    assert done.log.count("result from the cache") == 2


def check_passed_on(out: Path) -> None:
    assert (out / "passing.txt").read_text() == "AAx"
    assert (out / "seen.txt").read_text().split() == ["./a", "./new", "./s/a", "A"]
    expected = {"a": "A", "s": "/", "s/a": "A", "new": "new\n", "empty": "/"}
    assert tree(out / "d") == expected
    assert not (out / "d/a").is_symlink()
    assert (out / "f").read_text() == "x"


def test_a_file_and_the_directory_it_is_in_are_both_staged(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    """In the step, and in what it passes on."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_text("A")
    listing = ["$(inputs.d)", "$(inputs.l)", "$(inputs.f)"]
    document = tool(
        "cat in/a l/a a",
        inputs={"d": "Directory", "l": "Directory", "f": "File"},
        requirements={"InitialWorkDirRequirement": {"listing": listing}},
        stdout="seen.txt",
        outputs={
            "seen": "stdout",
            "all": {"type": "Any", "outputBinding": {"glob": ["in", "l", "a"]}},
        },
    )
    same = {"class": "File", "path": "in/a"}
    job = {"d": {"class": "Directory", "path": "in"}, "l": literal("l", same), "f": same}
    done = run(document, job)
    assert done.code == 0, done.log
    assert (tmp_path / "out/seen.txt").read_text() == "AAA"
    assert tree(tmp_path / "out/l") == tree(tmp_path / "out/in") == {"a": "A"}
    assert Path(done.outputs["all"][2]["path"]).read_text() == "A"


NAMES = r"""mkdir -p d/$(printf '\376') o; echo text > d/text; echo o > o/x
echo latin > "$(printf 'd/\377')"; echo deep > "$(printf 'd/\376/x')"
ln -s "$(printf '\377')" d/link; ln -s ../o/x "$(printf 'd/\375')"
echo 'new line' > "$(printf 'd/a\nb')"; echo '#' > 'd/ü %41#?[*]'"""


@pytest.mark.parametrize("options", [(), ("--copy-outputs",), ("--cachedir", "cache")])
def test_names_that_are_no_text_are_in_no_listing_but_there(
    run: Callable[..., Done], tmp_path: Path, options: tuple[str, ...]
) -> None:
    script = r"cd $1; cat link $(printf '\377 \376/x \375') text 'ü %41#?[*]' a?b"
    document = workflow(
        {},
        {"make": (tool(NAMES), {}), "use": (reader(script), {"d": "make/d"})},
        {"d": "make/d", "seen": "use/seen"},
        seen="File",
    )
    done = run(document, None, *options)
    assert done.code == 0, done.log
    assert r"b'\xff' in " in done.log
    names = {entry["basename"] for entry in done.outputs["d"]["listing"]}
    assert names == {"a\nb", "link", "text", "ü %41#?[*]"}
    expected = "latin latin deep o text # new line"
    assert (tmp_path / "out/seen.txt").read_text().split() == expected.split()
    out = os.fsencode(tmp_path / "out/d")
    texts = [Path(os.fsdecode(out + name)).read_text() for name in (b"/\xff", b"/\xfe/x", b"/\xfd")]
    assert texts == ["latin\n", "deep\n", "o\n"]


def test_a_very_deep_directory_is_delivered(run: Callable[..., Done], tmp_path: Path) -> None:
    depth = 400
    script = f"mkdir d; cd d; for n in $(seq {depth}); do mkdir a; cd a; done; echo deep > x"
    document = workflow(
        {},
        {"make": (tool(script), {}), "use": (reader("find $1 -type f | wc -l"), {"d": "make/d"})},
        {"d": "make/d", "seen": "use/seen"},
        seen="File",
    )
    done = run(document)
    assert done.code == 0, done.log
    assert (tmp_path / "out/seen.txt").read_text() == "1\n"
    assert (tmp_path / "out/d" / "/".join("a" * depth) / "x").read_text() == "deep\n"


def test_an_output_directory_within_an_input_is_not_copied_into_itself(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x").write_text("x")
    (tmp_path / "d/y").symlink_to("../d/x")
    passing = tool(
        "ls d",
        inputs={"d": "Directory"},
        requirements={"InitialWorkDirRequirement": {"listing": ["$(inputs.d)"]}},
    )
    done = run(passing, {"d": {"class": "Directory", "path": "d"}}, "--outdir", "d/out")
    assert done.code == 0, done.log
    assert tree(tmp_path / "d/out") == {"d": "/", "d/x": "x", "d/y": "x", "d/out": "/"}


def test_a_persons_directory_is_passed_on_with_all_that_can_be(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    """One that may not be written to, with a pipe, and with what nobody may read."""
    directory = tmp_path / "d"
    (directory / "s").mkdir(parents=True)
    (tmp_path / "beside").write_text("beside")
    for name in ("s/x", "hidden"):
        (directory / name).write_text(name)
    (directory / "s/link").symlink_to("../../beside")
    (directory / "s/gone").symlink_to("nowhere")
    os.mkfifo(directory / "pipe")
    (directory / "shut").mkdir()
    for name, mode in (("hidden", 0), ("shut", 0), ("s", 0o555), (".", 0o555)):
        (directory / name).chmod(mode)
    passing = tool(
        "ls d",
        inputs={"d": "Directory"},
        requirements={"InitialWorkDirRequirement": {"listing": ["$(inputs.d)"]}},
    )
    done = run(passing, {"d": {"class": "Directory", "path": "d"}})
    assert done.code == 0, done.log
    assert tree(tmp_path / "out/d") == {"s": "/", "s/x": "s/x", "s/link": "beside"}
    for name, reason in {
        "pipe": "neither a file nor a directory",
        "hidden": "it may not be read",
        "shut": "it may not be read",
        "s/gone": "a link that leads nowhere",
    }.items():
        assert f"left out {directory}/{name}: {reason}" in done.log
    assert (tmp_path / "out/d/s").stat().st_mode & 0o777 == 0o555


def test_a_writable_copy_of_a_persons_directory_shows_nothing_else_of_the_host(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    """Though it may be written to, whichever modes the directory has."""
    (tmp_path / "d/s").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "d/s/link").symlink_to(tmp_path / "secret")
    (tmp_path / "d/s").chmod(0o555)
    (tmp_path / "d").chmod(0o555)
    changing = tool(
        "cat d/s/link; echo new > d/new; echo new > d/s/new",
        inputs={"d": "Directory"},
        requirements={
            "InitialWorkDirRequirement": {"listing": [{"entry": "$(inputs.d)", "writable": True}]}
        },
        stdout="seen.txt",
        outputs={"d": DIRECTORY, "seen": "stdout"},
    )
    done = run(changing, {"d": {"class": "Directory", "path": "d"}})
    assert done.code == 0, done.log
    assert (tmp_path / "out/seen.txt").read_text() == ""
    assert tree(tmp_path / "out/d") == {"new": "new\n", "s": "/", "s/new": "new\n"}
    assert f"left out {tmp_path}/d/s/link: a link out of the directory" in done.log


def test_an_output_directory_as_a_whole_has_the_name_that_its_step_knew(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    make = tool(
        "echo a > a",
        outputs={"d": {"type": "Directory", "outputBinding": {"glob": "."}}},
    )
    document = workflow(
        {},
        {"make": (make, {}), "use": (reader("echo $1; cat $1/a"), {"d": "make/d"})},
        {"d": "make/d", "seen": "use/seen"},
        seen="File",
    )
    for hits in (0, 2):
        done = run(document, None, "--cachedir", "cache")
        assert done.code == 0, done.log
        assert done.log.count("result from the cache") == hits
        assert tree(tmp_path / "out/cwl") == {"a": "a\n"}
        assert (tmp_path / "out/seen.txt").read_text().split() == ["/var/lib/cwl/stg0/cwl", "a"]
        shutil.rmtree(tmp_path / "out")


def test_links_of_a_directory_that_was_changed_in_place(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    changing = tool(
        "mkdir d/n; echo new > d/n/x; ln -s $PWD/d/n d/whole; ln -s ../../d/n/x d/n/around",
        inputs={"d": "Directory"},
        requirements={
            "InitialWorkDirRequirement": {"listing": [{"entry": "$(inputs.d)", "writable": True}]},
            "InplaceUpdateRequirement": {"inplaceUpdate": True},
        },
    )
    document = workflow(
        {},
        {
            "make": (tool("mkdir d"), {}),
            "change": (changing, {"d": "make/d"}),
            "use": (reader("cat $1/whole/x $1/n/around"), {"d": "change/d"}),
        },
        {"d": "change/d", "seen": "use/seen"},
        seen="File",
    )
    done = run(document)
    assert done.code == 0, done.log
    assert (tmp_path / "out/seen.txt").read_text() == "new\nnew\n"
    assert os.readlink(tmp_path / "out/d/whole") == "n"


def test_provenance_of_a_directory_with_links(run: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a").write_text("a")
    for name, target in (("b", "a"), ("dot", "."), ("gone", "nowhere")):
        (tmp_path / "d" / name).symlink_to(target)
    document = workflow(
        {"d": "Directory"},
        {
            "make": (tool("mkdir d; echo x > d/x; ln -s x d/y; ln -s . d/dot"), {}),
            "use": (reader("cat $1/b"), {"d": "d"}),
        },
        {"d": "make/d", "given": "d", "seen": "use/seen"},
        seen="File",
    )
    done = run(document, {"d": {"class": "Directory", "path": "d"}}, "--provenance", "prov")
    assert done.code == 0, done.log
    kept = [path for path in (tmp_path / "prov/data").rglob("*") if not path.is_dir()]
    assert not any(path.is_symlink() for path in kept)
    assert {path.read_text() for path in kept} >= {"a", "x\n"}


OVERLAYS: dict[str, tuple[list[Any], dict[str, str]]] = {
    "a new file": (["$(inputs.d)", {"entryname": "d/new", "entry": "new"}], {"new": "new"}),
    "a file, which comes first": (
        [{"entryname": "d/new", "entry": "$(inputs.f)"}, "$(inputs.d)"],
        {"new": "f"},
    ),
    "a file in place of another": (
        ["$(inputs.d)", {"entryname": "d/x", "entry": "$(inputs.f)"}],
        {"x": "f"},
    ),
    "one to write to": (
        ["$(inputs.d)", {"entryname": "d/x", "entry": "$(inputs.f)", "writable": True}],
        {"x": "f+"},
    ),
    "a file in a new directory": (
        ["$(inputs.d)", {"entryname": "d/e/s/new", "entry": "$(inputs.f)"}],
        {"e/s/new": "f"},
    ),
    "in a copy": (
        [
            {"entryname": "d/s/new", "entry": "$(inputs.f)"},
            {"entryname": "d/x", "entry": "new"},
            {"entry": "$(inputs.d)", "writable": True},
        ],
        {"s/new": "f", "x": "new"},
    ),
}


@pytest.mark.parametrize("kind", OVERLAYS)
def test_something_is_staged_in_a_directory_that_is_staged(
    run: Callable[..., Done], tmp_path: Path, kind: str
) -> None:
    """Of the input itself nothing changes."""
    listing, added = OVERLAYS[kind]
    (tmp_path / "d/s").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    for name in ("f", "d/x", "d/s/y", "d/s/z"):
        (tmp_path / name).write_text(name)
    for name, target in (("own", "s"), ("link", tmp_path / "secret"), ("gone", "nowhere")):
        (tmp_path / "d" / name).symlink_to(target)
    before = tree(tmp_path / "d/s") | {"x": (tmp_path / "d/x").read_text()}
    overlaid = tool(
        "[ ! -w d/x ] || echo + >> d/x; cat d/own/y d/link; find -L d -type f | sort",
        inputs={"d": "Directory", "f": "File"},
        requirements={"InitialWorkDirRequirement": {"listing": listing}},
        stdout="seen.txt",
        outputs={"d": DIRECTORY, "seen": "stdout"},
    )
    if kind != "one to write to":
        overlaid["baseCommand"][2] = overlaid["baseCommand"][2].partition("; ")[2]
    document = workflow(
        {"d": "Directory", "f": "File"},
        {
            "make": (overlaid, {"d": "d", "f": "f"}),
            "use": (reader("find -L $1 -type f | wc -l", stdout="used.txt"), {"d": "make/d"}),
        },
        {"d": "make/d", "seen": "make/seen", "used": "use/seen"},
        seen="File",
        used="File",
    )
    job = {"d": {"class": "Directory", "path": "d"}, "f": {"class": "File", "path": "f"}}
    expected = {"x": "d/x", "s/y": "d/s/y", "s/z": "d/s/z", "own/y": "d/s/y", **added}
    for options in ((), ("--cachedir", "cache"), ("--cachedir", "cache")):
        done = run(document, job, *options)
        assert done.code == 0, done.log
        seen_names = (tmp_path / "out/seen.txt").read_text().removeprefix("d/s/y").split()
        assert {f"d/{name}" for name in expected} <= set(seen_names)
        assert "d/link" not in seen_names
        found = {name: (tmp_path / "out/d" / name).read_text().strip() for name in expected}
        assert found == expected
        assert int((tmp_path / "out/used.txt").read_text()) == len(seen_names)
        assert tree(tmp_path / "d/s") | {"x": (tmp_path / "d/x").read_text()} == before
        assert sorted(os.listdir(tmp_path / "d")) == ["gone", "link", "own", "s", "x"]
        shutil.rmtree(tmp_path / "out")
    assert done.log.count("result from the cache") == 2


def test_something_is_staged_in_a_directory_that_a_step_has_made(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    make = tool("mkdir d o; echo x > d/x; echo o > o/x; ln -s ../o d/o; ln -s ../o/x d/link")
    listing = ["$(inputs.d)", {"entryname": "d/new", "entry": "new"}]
    overlaid = reader(
        "cat d/x d/o/x d/link d/new",
        requirements={"InitialWorkDirRequirement": {"listing": listing}},
        outputs={"d": DIRECTORY, "seen": "stdout"},
    )
    document = workflow(
        {},
        {"make": (make, {}), "overlay": (overlaid, {"d": "make/d"})},
        {"made": "make/d", "d": "overlay/d", "seen": "overlay/seen"},
        seen="File",
    )
    done = run(document)
    assert done.code == 0, done.log
    assert (tmp_path / "out/seen.txt").read_text() == "x\no\no\nnew"
    expected = {"x": "x\n", "o": "/", "o/x": "o\n", "link": "o\n"}
    made, laid = (Path(done.outputs[name]["path"]) for name in ("made", "d"))
    assert tree(made) == expected
    assert tree(laid) == {**expected, "new": "new"}


def test_nothing_can_be_staged_in_a_file(run: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x").write_text("x")
    listing = ["$(inputs.d)", {"entryname": "d/x/y", "entry": "new"}]
    requirements = {"InitialWorkDirRequirement": {"listing": listing}}
    done = run(reader("ls", requirements=requirements), {"d": {"class": "Directory", "path": "d"}})
    assert done.code == 1
    assert f"/var/spool/cwl/d/x would be the file {tmp_path}/d/x, and a directory" in done.log
