# SPDX-License-Identifier: Apache-2.0
"""A run as a Workflow Run RO-Crate: what is in it, and that it is valid."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from commands import COMMANDS, Command
from crates import (
    METADATA,
    Entity,
    check_what_passes,
    entities,
    of_type,
    problems,
    refers,
    tool,
    write_workflow,
)

CRATE = ("cwltool", "--udss", "--udss-crate")


@pytest.fixture(scope="module")
def many(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The crate of a run with all kinds of steps and parameters; of a person who says who."""
    directory = tmp_path_factory.mktemp("many")
    write_workflow(directory)
    who = ("--full-name", "Josiah Carberry", "--orcid", "0000-0002-1825-0097")
    command = (*CRATE, "crate", *who, "--outdir", "out", "many.cwl", "job.json")
    done = subprocess.run(
        [COMMANDS / command[0], *command[1:]],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return directory / "crate"


@pytest.fixture(scope="module")
def found(many: Path) -> dict[str, Entity]:
    return entities(many)


def actions(found: dict[str, Entity], name: str) -> list[Entity]:
    return [x for x in of_type(found, "CreateAction") if x["name"] == f"Run of {name}"]


def given(
    found: dict[str, Entity], action: Entity, name: str, side: str = "object"
) -> list[Entity]:
    """The values of a parameter."""
    return [
        found[x]
        for x in refers(action, side)
        if any(found[y]["name"] == name for y in refers(found[x], "exampleOfWork"))
    ]


def test_it_is_valid(many: Path, run_command: Command, tmp_path: Path) -> None:
    """So are one of profile 0.5 of a run that has failed, and one of a tool alone."""
    steps: dict[str, Any] = {}
    for name, script, before in (
        ("one", "echo 1", ""),
        ("two", "exit 3", "one"),
        ("last", "", "two"),
    ):
        run = tool(script, {"file": "File?"}, {"out": "stdout"})
        steps[name] = {
            "run": run,
            "in": {"file": f"{before}/out"} if before else {},
            "out": ["out"],
        }
    failing = {
        "class": "Workflow",
        "inputs": [],
        "outputs": {"out": {"type": "File", "outputSource": "last/out"}},
        "steps": steps,
    }
    for name, document in (("failing", failing), ("alone", steps["one"]["run"])):
        (tmp_path / f"{name}.cwl").write_text(json.dumps({"cwlVersion": "v1.2", **document}))
        done = run_command(*CRATE, name, "--udss-crate-profile", "0.5", f"{name}.cwl")
        assert done.returncode == (name == "failing"), done.stderr
        check_what_passes(tmp_path / name)
    check_what_passes(many)
    found = problems(
        tmp_path,
        ro_crate_1__3=many,
        provenance_run_crate_0__5=tmp_path / "failing",
        process_run_crate_0__5=tmp_path / "alone",
    )
    assert found == {str(many): [], str(tmp_path / "failing"): [], str(tmp_path / "alone"): []}
    failed = entities(tmp_path / "failing")
    [one, two] = actions(failed, "one") + actions(failed, "two")
    assert one["actionStatus"]["@id"].endswith("/CompletedActionStatus")
    assert two["error"].startswith("exited, exit code 3")
    assert refers(two, "object") == refers(one, "result")
    assert failed["#run"]["error"].startswith("two: ")
    assert actions(failed, "last") == []
    assert "workflow/last.cwl" not in refers(failed["workflow/failing.cwl"], "hasPart")


def test_of_which_profiles_it_is(found: dict[str, Entity]) -> None:
    profiles = refers(found["./"], "conformsTo")
    assert [x.rpartition("ro/wfrun/")[2] for x in profiles[:3]] == [
        "process/0.6",
        "workflow/0.6",
        "provenance/0.6",
    ]
    assert profiles[3:] == ["https://w3id.org/workflowhub/workflow-ro-crate/1.1"]
    assert found["./"]["name"] == "Run of Many <img onerror=x> things"
    assert found["./"]["license"] == {"@id": "https://spdx.org/licenses/MIT"}
    assert found["./"]["mainEntity"] == {"@id": "workflow/many.cwl"}
    assert found["#run"]["agent"] == {"@id": "https://orcid.org/0000-0002-1825-0097"}
    assert found["https://orcid.org/0000-0002-1825-0097"]["name"] == "Josiah Carberry"


def test_the_workflow_in_it_can_be_run(many: Path, run_command: Command) -> None:
    done = run_command("cwltool", "--validate", many / "workflow/many.cwl")
    assert done.returncode == 0, done.stderr
    written = "".join(path.read_text() for path in (many / "workflow").iterdir())
    assert "file:" not in written
    assert "../inputs/%C3%BC%20b.txt" in written


def test_its_steps(found: dict[str, Entity]) -> None:
    workflow, inner = found["workflow/many.cwl"], found["workflow/call.cwl"]
    names = [found[x]["name"] for x in refers(workflow, "step")]
    assert sorted(names) == ["call", "count", "host", "make", "skip"]
    assert names.index("count") < names.index("call") < names.index("host")
    tools = {found[x]["name"] for x in refers(workflow, "hasPart")}
    assert tools == {"make.cwl", "count.cwl", "call.cwl", "host.cwl"}
    assert refers(inner, "hasPart") == ["workflow/in%20ner.cwl"]
    assert "HowTo" in inner["@type"]
    connections = {
        (found[x["sourceParameter"]["@id"]]["name"], found[x["targetParameter"]["@id"]]["name"])
        for x in of_type(found, "ParameterConnection")
    }
    assert {("number", "number"), ("more", "number"), ("out", "files")} <= connections


def test_its_actions(found: dict[str, Entity]) -> None:
    """Of a scattered workflow each run, of a step that was skipped none."""
    calls, jobs = actions(found, "call"), []
    assert len(calls) == 3
    for number, call in enumerate(calls, 1):
        [job] = actions(found, f"call/in ner ({number})")
        jobs.append(job)
        assert refers(job, "result") == refers(call, "result")
    [control] = [
        x
        for x in of_type(found, "ControlAction")
        if found[x["instrument"]["@id"]]["name"] == "call"
    ]
    assert refers(control, "object") == [call["@id"] for call in calls]
    [engine] = of_type(found, "OrganizeAction")
    controls = [x["@id"] for x in of_type(found, "ControlAction")]
    assert refers(engine, "object") == controls
    assert len(controls) == 7  # of the inner step one for each run of its workflow
    assert refers(engine, "result") == ["#run"]
    assert found[refers(engine, "instrument")[0]]["name"] == "cwl-udss"
    assert actions(found, "skip") == []
    assert [x["value"] for x in given(found, jobs[2], "word")] == ["b <c>"]
    assert jobs[2]["description"].endswith("'b <c>'")
    assert refers(actions(found, "host")[0], "object") == [
        x for call in calls for x in refers(call, "result")
    ]


def test_images_and_what_was_used(found: dict[str, Entity]) -> None:
    [image] = of_type(found, "ContainerImage")
    assert (image["registry"], image["name"], image["tag"]) == (
        "docker.io",
        "library/busybox",
        "1.36",
    )
    [job] = actions(found, "make")
    assert refers(job, "containerImage") == [image["@id"]]
    figures = {found[x]["name"]: found[x] for x in refers(job, "resourceUsage")}
    assert {"wallTime", "userTime", "systemTime", "peakMemory", "largestProcess"} <= set(figures)
    assert figures["peakMemory"]["unitCode"] == "https://qudt.org/vocab/unit/BYTE"
    assert 100_000 < int(figures["peakMemory"]["value"]) < 100_000_000
    [host] = actions(found, "host")
    assert "containerImage" not in host
    assert "peakMemory" not in {found[x]["name"] for x in refers(host, "resourceUsage")}


def test_inputs(many: Path, found: dict[str, Entity]) -> None:
    run = found["#run"]

    def only(name: str) -> Entity:
        [value] = given(found, run, name)
        return value

    assert only("number")["value"] == "3"
    assert only("words")["value"] == ["a", "a", "b <c>"]
    assert given(found, run, "nothing") == []
    assert [found[x]["value"] for x in refers(only("lists"), "value")] == [["1", "2"], ["3"]]
    assert only("color")["value"] == "red"
    record = {found[x]["name"]: found[x]["value"] for x in refers(only("pair"), "value")}
    assert record == {"pair/one": "A", "pair/two": {"@id": "inputs/%C3%BC%20b.txt"}}
    bam = only("bam")
    assert bam["@type"] == "Collection"
    assert bam["mainEntity"] == {"@id": only("again")["@id"]} == {"@id": "inputs/m.bam"}
    assert refers(bam, "hasPart") == ["inputs/m.bam", "inputs/m.bam.idx"]
    assert (many / "inputs/text.txt").read_text() == "literal"
    assert only("text")["@id"] == "inputs/text.txt"
    assert only("default")["@id"] == "inputs/%C3%BC%20b.txt"
    assert only("default")["sha1"] == hashlib.sha1("ü b.txt".encode()).hexdigest()
    assert refers(only("given"), "hasPart") == ["inputs/given/sub/i.txt"]
    assert {found[x]["name"] for x in refers(only("literal"), "hasPart")} == {"m.bam", "q"}
    # The step is given the same.
    [step] = actions(found, "make")
    assert {x for x in refers(step, "object") if not x.startswith("#value")} == {
        x for x in refers(run, "object") if not x.startswith("#value")
    }


def test_outputs(many: Path, found: dict[str, Entity]) -> None:
    run = found["#run"]
    [made] = given(found, run, "made", "result")
    assert refers(made, "hasPart") == ["outputs/made%20dir/sub/%C3%A9%20%26.txt"]
    texts = given(found, run, "texts", "result")
    assert [x["name"] for x in texts] == ["out.txt"] * 3
    assert [(many / x["@id"]).read_text() for x in texts] == ["a\n", "a\n", "b <c>\n"]
    assert texts[0]["sha1"] == texts[1]["sha1"] != texts[2]["sha1"]
    assert texts[1]["alternateName"] == "out.txt"
    assert [x["value"] for x in given(found, run, "more", "result")] == ["4"]
    assert given(found, run, "skipped", "result") == []
    # It has gone nowhere, and is known all the same.
    [host] = actions(found, "host")
    [out] = refers(host, "result")
    assert out.startswith("#file-")
    assert found[out]["name"] == "host.txt"


def test_a_crate_around_the_outputs(run_command: Command, tmp_path: Path) -> None:
    """They are not copied, however large they are; others that are large are not in it. A secret is
    nowhere. cwltool's own provenance can be had, too."""
    document = {
        "cwlVersion": "v1.2",
        "$namespaces": {"cwltool": "http://commonwl.org/cwltool#"},
        **tool(
            'echo "$0" >&2; busybox head -c 20000000 /dev/zero > large',
            {"large": "File", "word": {"type": "string", "inputBinding": {}}},
            {"large": {"type": "File", "outputBinding": {"glob": "large"}}},
        ),
    }
    document["hints"] = {**document["hints"], "cwltool:Secrets": {"secrets": ["word"]}}
    (tmp_path / "tool.cwl").write_text(json.dumps(document))
    with (tmp_path / "big.bin").open("wb") as stream:
        stream.truncate(20_000_000)
    (tmp_path / "job.json").write_text(
        json.dumps({"word": "hunter2", "large": {"class": "File", "location": "big.bin"}})
    )
    command = (*CRATE, "crate", "--outdir", "crate/results", "--enable-ext", "tool.cwl", "job.json")
    done = run_command(*command)
    assert done.returncode == 0, done.stderr
    found = entities(tmp_path / "crate")
    check_what_passes(tmp_path / "crate")
    run = found["#run"]
    assert refers(run, "result") == ["results/large"]
    assert not (tmp_path / "crate/outputs").exists()
    [large] = given(found, run, "large")
    assert large["@id"].startswith("#file-")
    assert (large["contentSize"], len(large["sha1"])) == ("20000000", 40)
    assert "hunter2" not in (tmp_path / "crate" / METADATA).read_text()
    # Again: nothing is overwritten, and nothing twice.
    before = sorted((tmp_path / "crate").rglob("*"))
    done = run_command(*command[:-2], "--provenance", "prov", *command[-2:])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "prov/metadata/provenance/primary.cwlprov.json").exists()
    assert sorted((tmp_path / "crate").rglob("*")) == before


def test_a_crate_that_cannot_be_written(run_command: Command, tmp_path: Path) -> None:
    """It fails no run; that of somebody else is not overwritten."""
    document = {"cwlVersion": "v1.2", **tool("true", {}, {})}
    (tmp_path / "tool.cwl").write_text(json.dumps(document))
    done = run_command(*CRATE, "/dev/full/crate", "tool.cwl")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be written") == 1
    assert "Traceback" not in done.stderr
    done = run_command(*CRATE, "tool.cwl", "tool.cwl")
    assert done.returncode == 1
    assert "tool.cwl is no directory" in done.stderr
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / METADATA).write_text("{}")
    done = run_command(*CRATE, "other", "tool.cwl")
    assert done.returncode == 1
    assert "is another crate, and is not overwritten" in done.stderr
    assert (tmp_path / "other" / METADATA).read_text() == "{}"
    done = run_command(*CRATE, "crate", "none.cwl")
    assert done.returncode == 1
    assert not (tmp_path / "crate").exists()
