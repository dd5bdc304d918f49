# SPDX-License-Identifier: Apache-2.0
"""What `cwltool --udss --cachedir` promises: no step twice, and no wrong result."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import COMMANDS, Command
from needs import need

DEBIAN = "docker.io/library/debian:stable-slim"
STAMP = "date +%s.%N"  # of the time when a step really ran


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of cwltool that has ended."""

    code: int
    log: str
    outputs: Any

    @property
    def hits(self) -> int:
        """How many results came from the cache."""
        return self.log.count("result from the cache")

    def text(self, name: str = "out") -> str:
        """The content of an output file."""
        return Path(self.outputs[name]["path"]).read_text()


@pytest.fixture
def run(run_command: Command, tmp_path: Path) -> Callable[..., Run]:
    """Run a document of the test's directory with the cache `cache`."""

    def run(document: str, job: dict[str, Any] | None = None, *options: str) -> Run:
        (tmp_path / "job.json").write_text(json.dumps(job or {}))
        done = run_command(
            *("cwltool", "--udss", "--cachedir", "cache", "--outdir", "out", *options),
            *(document, "job.json"),
        )
        log = plain(done.stderr)
        assert "Traceback" not in log
        return Run(code=done.returncode, log=log, outputs=json.loads(done.stdout or "null"))

    return run


def plain(text: str) -> str:
    """A log without colours and line breaks."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


def tool(script: str, **fields: Any) -> dict[str, Any]:
    """A tool that runs a shell script in Debian; `requirements` are added to those it has."""
    return {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "baseCommand": ["sh", "-c", script],
        "inputs": {},
        "outputs": {"out": "stdout"},
        "stdout": "out.txt",
        **fields,
        "requirements": {
            "DockerRequirement": {"dockerPull": DEBIAN},
            "InlineJavascriptRequirement": {},
            **fields.get("requirements", {}),
        },
    }


def write(path: Path, document: dict[str, Any]) -> str:
    path.write_text(json.dumps(document))
    return path.name


def file(path: str | Path, **fields: Any) -> dict[str, Any]:
    return {"class": "File", "path": str(path), **fields}


FILE = {"file": {"type": "File", "inputBinding": {}}}
WORK_DIRECTORY = "InitialWorkDirRequirement"


@dataclass(frozen=True, kw_only=True)
class Change:
    """Two runs whose command lines are equal and whose results differ."""

    tool: Callable[[str], dict[str, Any]]
    """Makes the tool in its first or second state."""
    job: Callable[[Path, str], dict[str, Any]] = lambda path, state: {}
    """Makes the job order, and its files."""


def _file_of_same_size_and_time(path: Path, state: str) -> dict[str, Any]:
    (path / "input").write_text(state)
    os.utime(path / "input", (1_000_000_000, 1_000_000_000))
    return {"file": file("input")}


def _in_a_directory_of_its_own(path: Path, state: str) -> dict[str, Any]:
    (path / state).mkdir(exist_ok=True)
    (path / state / "same").write_text(state)
    return {"file": file(f"{state}/same")}


def _directory_with_a_member(path: Path, state: str) -> dict[str, Any]:
    (path / "directory/sub").mkdir(parents=True, exist_ok=True)
    (path / "directory/sub/member").write_text(state)
    return {"file": {"class": "Directory", "path": "directory"}}


def _directory_with_a_renamed_member(path: Path, state: str) -> dict[str, Any]:
    shutil.rmtree(path / "directory", ignore_errors=True)
    (path / "directory").mkdir()
    (path / "directory" / state).write_text("")
    return {"file": {"class": "Directory", "path": "directory"}}


def _secondary_file(path: Path, state: str) -> dict[str, Any]:
    for name in ("input", "first", "other"):
        (path / name).write_text("content")
    return {"file": file("input", secondaryFiles=[file(state)])}


def _program(path: Path, state: str) -> dict[str, Any]:
    (path / "input").write_text("")
    (path / "input").chmod(0o755 if state == "first" else 0o644)
    return {"file": file("input")}


CHANGES = {
    "a parameter in InitialWorkDir only": Change(
        tool=lambda state: tool(
            f"cat made; {STAMP}",
            inputs={"word": "string"},
            requirements={
                WORK_DIRECTORY: {"listing": [{"entryname": "made", "entry": "$(inputs.word)"}]}
            },
        ),
        job=lambda path, state: {"word": state},
    ),
    "the text of a file in InitialWorkDir": Change(
        tool=lambda state: tool(
            f"cat made; {STAMP}",
            requirements={WORK_DIRECTORY: {"listing": [{"entryname": "made", "entry": state}]}},
        ),
    ),
    "another file staged under the same name": Change(
        tool=lambda state: tool(
            f"cat made; {STAMP}",
            inputs={"file": "File"},
            requirements={
                WORK_DIRECTORY: {"listing": [{"entryname": "made", "entry": "$(inputs.file)"}]}
            },
        ),
        job=_in_a_directory_of_its_own,
    ),
    "the name under which a file is staged": Change(
        tool=lambda state: tool(
            f"ls; {STAMP}",
            inputs={"file": "File"},
            requirements={
                WORK_DIRECTORY: {"listing": [{"entryname": state, "entry": "$(inputs.file)"}]}
            },
        ),
        job=lambda path, state: _file_of_same_size_and_time(path, "x"),
    ),
    "a writable file in InitialWorkDir": Change(
        tool=lambda state: tool(
            f"cat made; {STAMP}; echo more >> made",
            inputs={"file": "File"},
            requirements={
                WORK_DIRECTORY: {
                    "listing": [{"entryname": "made", "entry": "$(inputs.file)", "writable": True}]
                }
            },
        ),
        job=_in_a_directory_of_its_own,
    ),
    "the content of a file": Change(
        tool=lambda state: tool(f'cat "$0"; {STAMP}', inputs=FILE),
        job=_file_of_same_size_and_time,
    ),
    "whether a file is executable": Change(
        tool=lambda state: tool(f'stat -c %A "$0"; {STAMP}', inputs=FILE), job=_program
    ),
    "the content of a file on standard input": Change(
        tool=lambda state: tool(
            f"cat; {STAMP}", inputs={"file": "File"}, stdin="$(inputs.file.path)"
        ),
        job=_file_of_same_size_and_time,
    ),
    "a literal file": Change(
        tool=lambda state: tool(f'cat "$0"; {STAMP}', inputs=FILE),
        job=lambda path, state: {
            "file": {"class": "File", "contents": state, "basename": "literal"}
        },
    ),
    "a member of a directory": Change(
        tool=lambda state: tool(
            f'cat "$0"/sub/member; {STAMP}',
            inputs={"file": {"type": "Directory", "inputBinding": {}}},
        ),
        job=_directory_with_a_member,
    ),
    "the name of a member of a directory": Change(
        tool=lambda state: tool(
            f'ls "$0"; {STAMP}', inputs={"file": {"type": "Directory", "inputBinding": {}}}
        ),
        job=_directory_with_a_renamed_member,
    ),
    "the name of a secondary file": Change(
        tool=lambda state: tool(f'ls "${{0%/*}}"; {STAMP}', inputs=FILE), job=_secondary_file
    ),
    "a variable of the environment": Change(
        tool=lambda state: tool(
            f"echo $NAME; {STAMP}", requirements={"EnvVarRequirement": {"envDef": {"NAME": state}}}
        ),
    ),
    "a variable of the environment made of a parameter": Change(
        tool=lambda state: tool(
            f"echo $NAME; {STAMP}",
            inputs={"word": "string"},
            requirements={"EnvVarRequirement": {"envDef": {"NAME": "$(inputs.word)"}}},
        ),
        job=lambda path, state: {"word": state},
    ),
    "access to the network": Change(
        tool=lambda state: tool(
            f"wc -l < /proc/net/dev; {STAMP}",
            requirements={"NetworkAccess": {"networkAccess": state == "other"}},
        ),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_is_seen_and_what_it_was_before_is_found(
    run: Callable[..., Run], tmp_path: Path, change: Change
) -> None:
    results = []
    for state in ("first", "other", "first"):
        document = write(tmp_path / "tool.cwl", change.tool(state))
        results.append(run(document, change.job(tmp_path, state)))
    assert [result.code for result in results] == [0, 0, 0]
    assert [result.hits for result in results] == [0, 0, 1]


def test_a_hit_gives_the_outputs_of_the_run_that_was(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    document = write(
        tmp_path / "tool.cwl",
        tool(
            f"mkdir -p d/e; {STAMP} > d/e/f; ln -s e d/link; {STAMP}",
            outputs={
                "out": "stdout",
                "directory": {"type": "Directory", "outputBinding": {"glob": "d"}},
            },
        ),
    )
    first = run(document)
    content = first.text(), (tmp_path / "out/d/e/f").read_text()
    second = run(document)
    assert (first.hits, second.hits) == (0, 1)
    assert (second.text(), (tmp_path / "out/d/e/f").read_text()) == content
    assert (tmp_path / "out/d/link/f").read_text() == content[1]
    assert first.outputs == second.outputs


@pytest.mark.parametrize("pattern", ["d", "."])
def test_outputs_are_the_callers_own(run: Callable[..., Run], tmp_path: Path, pattern: str) -> None:
    """What the caller does to them changes nothing in the cache, from the first run on."""
    directory = {"type": "Directory", "outputBinding": {"glob": pattern}}
    document = write(
        tmp_path / "tool.cwl",
        tool(
            "mkdir d; echo original > d/f; echo original",
            outputs={"out": "stdout", "directory": directory},
        ),
    )
    for hits in (0, 1, 1):
        done = run(document)
        assert (done.code, done.hits) == (0, hits)
        files = [path for path in (tmp_path / "out").rglob("*") if not path.is_dir()]
        assert len(files) == 2
        for path in files:
            assert not path.is_symlink()
            assert path.read_text() == "original\n"
            path.write_text("changed by the caller")
        shutil.rmtree(tmp_path / "out")


def test_collection_is_done_anew(run: Callable[..., Run], tmp_path: Path) -> None:
    """A changed `outputEval` (cwltool #740) gives another value, without another run."""
    for number, hits in ((1, 0), (2, 1)):
        output = {
            "type": "int",
            "outputBinding": {"glob": "out.txt", "outputEval": f"${{return {number};}}"},
        }
        document = write(tmp_path / "tool.cwl", tool(STAMP, outputs={"out": output}))
        done = run(document)
        assert (done.outputs, done.hits) == ({"out": number}, hits)


def test_what_does_not_decide_the_result_may_change(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    """Where an input is, when it was touched, in which order secondary files are named; labels,
    time limits, and what the machine has."""
    for name in ("input", "first", "second"):
        (tmp_path / name).write_text(name)
    document = write(tmp_path / "tool.cwl", tool(f'cat "$0"; {STAMP}', inputs=FILE))
    first = run(document, {"file": file("input", secondaryFiles=[file("first"), file("second")])})
    (tmp_path / "elsewhere").mkdir()
    for name in ("input", "first", "second"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
        os.utime(tmp_path / "elsewhere" / name)
    changed = tool(
        f'cat "$0"; {STAMP}',
        inputs={"file": {**FILE["file"], "doc": "changed"}},
        label="changed",
        requirements={
            "ToolTimeLimit": {"timelimit": 100},
            "ResourceRequirement": {"coresMin": 1, "ramMin": 300},
        },
    )
    second = run(
        write(tmp_path / "other.cwl", changed),
        {
            "file": file(
                "elsewhere/input",
                secondaryFiles=[file("elsewhere/second"), file("elsewhere/first")],
            )
        },
    )
    assert (first.code, second.code, second.hits) == (0, 0, 1)
    assert second.outputs == first.outputs


def test_a_checksum_in_the_job_order_is_not_believed(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    document = write(tmp_path / "tool.cwl", tool('cat "$0"', inputs=FILE))
    for content in ("first", "other"):
        (tmp_path / "input").write_text(content)
        done = run(document, {"file": file("input", checksum="sha1$" + 40 * "0", size=5)})
        assert done.text() == content


def test_a_name_that_stands_for_another_image(run: Callable[..., Run], tmp_path: Path) -> None:
    named = {"DockerRequirement": {"dockerImageId": "mine"}}
    by_name = write(tmp_path / "named.cwl", tool(f"cat /made; {STAMP}", requirements=named))
    for content, hits in (("first", 0), ("second", 0), ("first", 1)):
        docker = {"dockerFile": f"FROM {DEBIAN}\nRUN echo {content} > /made"}
        docker["dockerImageId"] = "mine"
        builds = tool("true", requirements={"DockerRequirement": docker})
        assert run(write(tmp_path / "build.cwl", builds)).code == 0
        done = run(by_name)
        assert (done.code, done.hits) == (0, hits)
        assert done.text().split()[0] == content


def test_an_image_in_a_directory_has_no_digest(run: Callable[..., Run], tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        need("needs the Debian package busybox-static")
    root = tmp_path / "root"
    for name in ("bin", "etc", "tmp", "proc", "sys", "dev", "var/lib/cwl", "var/spool/cwl"):
        (root / name).mkdir(parents=True)
    shutil.copy(str(busybox), root / "bin/sh")
    docker = {"DockerRequirement": {"dockerImageId": str(root)}}
    document = write(tmp_path / "tool.cwl", tool("echo $(cat /etc/x)", requirements=docker))
    for content in ("first", "second"):
        (root / "etc/x").write_text(content)
        done = run(document)
        assert done.code == 0, done.log
        assert done.text() == f"{content}\n"
    assert "its image is a directory" in done.log


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory, and its address on the web."""
    directory = tmp_path / "served"
    directory.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(directory))

        def end_headers(self) -> None:
            self.send_header("Cache-Control", "no-store")
            super().end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield directory, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_inputs_from_the_web(
    run: Callable[..., Run], tmp_path: Path, served: tuple[Path, str]
) -> None:
    """cwltool's --cachedir fails with these (its issue 1828)."""
    directory, address = served
    document = write(tmp_path / "tool.cwl", tool(f'cat "$0"; {STAMP}', inputs=FILE))
    job = {"file": {"class": "File", "location": f"{address}/input"}}
    for content, hits in (("first", 0), ("first", 1), ("other", 0)):
        (directory / "input").write_text(f"{content}\n")
        done = run(document, job)
        assert (done.code, done.hits) == (0, hits), done.log
        assert done.text().split()[0] == content


@pytest.mark.parametrize(
    ("script", "fields", "codes", "hits"),
    [
        ("exit 1", {}, 1, 0),
        ("exit 7", {"successCodes": [7]}, 0, 1),
        ("exit 0", {"permanentFailCodes": [0]}, 1, 0),
        ("exit 3", {"temporaryFailCodes": [3]}, 1, 0),
        (
            "true",
            {"outputs": {"out": {"type": "File", "outputBinding": {"glob": "no-such-file"}}}},
            1,
            0,
        ),
        ("sleep 60", {"requirements": {"ToolTimeLimit": {"timelimit": 1}}}, 1, 0),
        ("true", {"requirements": {"WorkReuse": {"enableReuse": False}}}, 0, 0),
        ("true", {"requirements": {"WorkReuse": {"enableReuse": "$(1 > 2)"}}}, 0, 0),
        ("true", {"requirements": {"WorkReuse": {"enableReuse": "$(1 < 2)"}}}, 0, 1),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value),
)
def test_which_results_are_kept(
    run: Callable[..., Run],
    tmp_path: Path,
    script: str,
    fields: dict[str, Any],
    codes: int,
    hits: int,
) -> None:
    document = write(tmp_path / "tool.cwl", tool(script, **fields))
    first, second = run(document), run(document)
    assert (first.code, second.code) == (codes, codes)
    assert (first.hits, second.hits) == (0, hits)


def results(path: Path) -> list[Path]:
    return sorted((path / "cache/results").iterdir())


def damage_missing(result: Path) -> None:
    (result / "outputs/out.txt").unlink()


def damage_size(result: Path) -> None:
    (result / "outputs/out.txt").write_text("")


def damage_record(result: Path) -> None:
    (result / "result.json").write_text("{")


def damage_no_record(result: Path) -> None:
    (result / "result.json").unlink()


@pytest.mark.parametrize("damage", [damage_missing, damage_size, damage_record, damage_no_record])
def test_a_damaged_result_is_replaced(
    run: Callable[..., Run], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    document = write(tmp_path / "tool.cwl", tool(STAMP))
    before = run(document).text()
    (result,) = results(tmp_path)
    damage(result)
    again = run(document)
    assert (again.code, again.hits) == (0, 0)
    assert "is damaged, and replaced" in again.log
    assert again.text() != before
    assert run(document).hits == 1


def workflow(steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "requirements": {"ScatterFeatureRequirement": {}, "InlineJavascriptRequirement": {}},
        "inputs": {},
        "steps": steps,
        "outputs": {"out": {"type": "File", "outputSource": f"{list(steps)[-1]}/out"}},
        **fields,
    }


def chain(*scripts: str) -> dict[str, Any]:
    """A workflow of tools, each given the output of the one before."""
    steps: dict[str, Any] = {}
    for number, script in enumerate(scripts):
        given = {"file": f"s{number - 1}/out"} if number else {}
        inputs = FILE if number else {}
        steps[f"s{number}"] = {"run": tool(script, inputs=inputs), "in": given, "out": ["out"]}
    return workflow(steps)


OPTIONS = pytest.mark.parametrize("options", [(), ("--parallel",)], ids=["serial", "parallel"])


@OPTIONS
def test_only_what_depends_on_a_change_runs_again(
    run: Callable[..., Run], tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Intermediate files count by content: `s1` makes the same whatever `s0` was."""
    last = 'cat "$0"; echo last'
    first = run(write(tmp_path / "w.cwl", chain("echo a", "echo b", last)), None, *options)
    second = run(write(tmp_path / "w.cwl", chain("echo c", "echo b", last)), None, *options)
    third = run(write(tmp_path / "w.cwl", chain("echo c", "echo d", last)), None, *options)
    assert [(done.code, done.hits) for done in (first, second, third)] == [(0, 0), (0, 1), (0, 1)]
    assert third.text() == "d\nlast\n"


def test_a_crashed_run_is_taken_up_again(
    environment: dict[str, str], run: Callable[..., Run], tmp_path: Path
) -> None:
    scripts = ["echo start", *(['cat "$0"; ' + STAMP] * 2), 'cat "$0"; sleep 3; ' + STAMP]
    document = write(tmp_path / "w.cwl", chain(*scripts, *(['cat "$0"; ' + STAMP] * 2)))
    driver = subprocess.Popen(
        [COMMANDS / "cwltool", "--udss", "--cachedir", "cache", "--outdir", "out", document],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "cache/results").is_dir() or len(results(tmp_path)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed_at = time.time()
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert list((tmp_path / "cache/work").iterdir())
    done = run(document)
    assert (done.code, done.hits) == (0, 3)
    stamps = [float(line) for line in done.text().split()[1:]]
    assert [stamp < killed_at for stamp in stamps] == [True, True, False, False, False]
    assert not list((tmp_path / "cache/work").iterdir())
    assert sorted(os.listdir(tmp_path)) == ["cache", "job.json", "out", "w.cwl"]
    again = run(document)
    assert (again.hits, again.text()) == (6, done.text())


def test_two_drivers_at_once(
    environment: dict[str, str], run: Callable[..., Run], tmp_path: Path
) -> None:
    """Both make the same step; both get what belongs together, and one is kept."""
    steps = chain("sleep 2; " + STAMP, 'cat "$0"')
    steps["outputs"]["before"] = {"type": "File", "outputSource": "s0/out"}
    document = write(tmp_path / "w.cwl", steps)
    drivers = [
        subprocess.Popen(
            [COMMANDS / "cwltool", "--udss", "--cachedir", "cache", "--outdir", name, document],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    texts = []
    for driver in drivers:
        out, log = driver.communicate(timeout=60)
        assert driver.returncode == 0, log
        assert "result from the cache" not in plain(log).split("[job s1]")[0]
        outputs = json.loads(out)
        texts.append(Path(outputs["out"]["path"]).read_text())
        assert Path(outputs["before"]["path"]).read_text() == texts[-1]
    assert texts[0] != texts[1]
    done = run(document)
    assert done.hits == 2
    assert done.text() in texts


@OPTIONS
def test_a_scatter(run: Callable[..., Run], tmp_path: Path, options: tuple[str, ...]) -> None:
    number = {"number": {"type": "int", "inputBinding": {}}}
    document = write(
        tmp_path / "w.cwl",
        workflow(
            {
                "scattered": {
                    "run": tool(f'echo "$0"; {STAMP}', inputs=number),
                    "scatter": "number",
                    "in": {"number": "numbers"},
                    "out": ["out"],
                },
            },
            inputs={"numbers": "int[]"},
            outputs={"out": {"type": "File[]", "outputSource": "scattered/out"}},
        ),
    )
    first = run(document, {"numbers": [1, 2, 3]}, *options)
    second = run(document, {"numbers": [3, 2, 1, 0]}, *options)
    assert (first.code, second.code, second.hits) == (0, 0, 3)
    assert [output["checksum"] for output in second.outputs["out"]][2::-1] == [
        output["checksum"] for output in first.outputs["out"]
    ]


@OPTIONS
def test_a_failed_step_is_all_that_runs_again(
    run: Callable[..., Run], tmp_path: Path, options: tuple[str, ...]
) -> None:
    options = (*options, "--on-error", "continue")
    (tmp_path / "input").write_text("bad")
    steps = {
        "bad": {"run": tool('grep good "$0"', inputs=FILE), "in": {"file": "file"}, "out": []},
        "good": {"run": tool(STAMP), "in": {}, "out": ["out"]},
    }
    document = write(tmp_path / "w.cwl", workflow(steps, inputs={"file": "File"}))
    first = run(document, {"file": file("input")}, *options)
    (tmp_path / "input").write_text("good")
    second = run(document, {"file": file("input")}, *options)
    assert [(done.code, done.hits) for done in (first, second)] == [(1, 0), (0, 1)]


def test_a_staged_input_and_what_is_made_beside_it(run: Callable[..., Run], tmp_path: Path) -> None:
    """As an index beside a sequence file, here in a directory: next time its input is elsewhere."""
    listing = [{"entryname": "sub/deep/in.txt", "entry": "$(inputs.file)"}]
    document = write(
        tmp_path / "w.cwl",
        workflow(
            {
                "index": {
                    "run": tool(
                        f"{STAMP} > sub/deep/index; ln -s in.txt sub/deep/link; "
                        "ln -s sub/deep/in.txt top",
                        inputs={"file": "File"},
                        requirements={WORK_DIRECTORY: {"listing": listing}},
                        outputs={
                            "out": {"type": "File", "outputBinding": {"glob": "sub/deep/in.txt"}},
                            "index": {"type": "File", "outputBinding": {"glob": "sub/deep/index"}},
                            "link": {"type": "File", "outputBinding": {"glob": "sub/deep/link"}},
                            "top": {"type": "File", "outputBinding": {"glob": "top"}},
                        },
                    ),
                    "in": {"file": "file"},
                    "out": ["out", "index", "link", "top"],
                },
            },
            inputs={"file": "File"},
            outputs={
                name: {"type": "File", "outputSource": f"index/{name}"}
                for name in ("out", "index", "link", "top")
            },
        ),
    )
    texts = []
    for place, hits in (("one", 0), ("two", 1), ("three", 1)):
        (tmp_path / place).mkdir()
        (tmp_path / place / "in.txt").write_text("sequences")
        done = run(document, {"file": file(f"{place}/in.txt")})
        assert (done.code, done.hits) == (0, hits), done.log
        for name in ("out", "link", "top"):
            assert done.text(name) == "sequences"
        texts.append(done.text("index"))
        shutil.rmtree(tmp_path / place)
        shutil.rmtree(tmp_path / "out")
    assert len(set(texts)) == 1
    (result,) = results(tmp_path)
    assert not [path for path in result.rglob("*") if path.is_symlink()]


def test_a_directory_with_a_link_to_an_input_goes_on_to_the_next_step(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    listing = [{"entryname": "d/staged", "entry": "$(inputs.file)"}]
    directory = {"type": "Directory", "outputBinding": {"glob": "d"}}
    steps = {
        "first": {
            "run": tool(
                f"{STAMP} > d/made",
                inputs={"file": "File"},
                requirements={WORK_DIRECTORY: {"listing": listing}},
                outputs={"out": directory},
            ),
            "in": {"file": "file"},
            "out": ["out"],
        },
        "second": {
            "run": tool(
                'cat "$0"/made',
                inputs={"directory": {"type": "Directory", "inputBinding": {}}},
                requirements={"WorkReuse": {"enableReuse": False}},
            ),
            "in": {"directory": "first/out"},
            "out": ["out"],
        },
    }
    document = write(tmp_path / "w.cwl", workflow(steps, inputs={"file": "File"}))
    (tmp_path / "input").write_text("")
    first, second = (run(document, {"file": file("input")}) for _ in range(2))
    assert (first.code, second.code, first.hits, second.hits) == (0, 0, 0, 1)
    assert first.text() == second.text() != ""


def test_a_writable_copy_of_what_another_step_has_made(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    listing = [{"entryname": "copy", "entry": "$(inputs.file)", "writable": True}]
    steps = chain(STAMP, "")
    steps["steps"]["s1"]["run"] = tool(
        "echo changed >> copy; cat copy",
        inputs={"file": "File"},
        requirements={WORK_DIRECTORY: {"listing": listing}, "WorkReuse": {"enableReuse": False}},
    )
    document = write(tmp_path / "w.cwl", steps)
    texts = {run(document).text() for _ in range(3)}
    assert len(texts) == 1
    assert texts.pop().endswith("changed\n")


def test_in_place_updates_and_a_cache_exclude_each_other(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    """An update would be of a file in the cache."""
    listing = [{"entryname": "file", "entry": "$(inputs.file)", "writable": True}]
    steps = chain("echo original", "")
    steps["steps"]["s1"]["run"] = tool(
        "echo changed >> file; cat file",
        inputs={"file": "File"},
        requirements={
            WORK_DIRECTORY: {"listing": listing},
            "InplaceUpdateRequirement": {"inplaceUpdate": True},
        },
    )
    document = write(tmp_path / "w.cwl", steps)
    for _ in range(2):
        done = run(document)
        assert (done.code, done.hits) == (0, 0)
        assert done.text() == "original\nchanged\n"
    assert "--cachedir has no effect" in done.log


def test_secrets_are_not_kept(run: Callable[..., Run], tmp_path: Path) -> None:
    document = write(
        tmp_path / "tool.cwl",
        tool(
            "echo made > out; echo $PASSWORD",
            inputs={"password": "string", "word": "string"},
            hints={"http://commonwl.org/cwltool#Secrets": {"secrets": ["password"]}},
            requirements={
                "EnvVarRequirement": {"envDef": {"PASSWORD": "x$(inputs.password)"}},
            },
        ),
    )
    for _ in range(2):
        done = run(document, {"password": "hunter2", "word": "x"})
        assert (done.code, done.hits) == (0, 0), done.log
        assert done.text() == "xhunter2\n"
    assert "it is given a secret" in done.log
    assert results(tmp_path) == []


def test_what_a_tool_says_of_its_outputs_is_not_believed(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    """A checksum in cwl.output.json, here the same for two contents."""
    lie = json.dumps({"out": {"class": "File", "path": "made", "checksum": "sha1$" + 40 * "0"}})
    for content in ("first", "other"):
        steps = chain("", 'cat "$0"')
        script = f"echo {content} > made; echo '{lie}' > cwl.output.json"
        steps["steps"]["s0"]["run"] = tool(script, outputs={"out": "File"})
        done = run(write(tmp_path / "w.cwl", steps))
        assert (done.hits, done.text()) == (0, f"{content}\n")


def test_values_of_variables_are_not_written_down(run: Callable[..., Run], tmp_path: Path) -> None:
    environment = {"EnvVarRequirement": {"envDef": {"TOKEN": "hunter2"}}}
    assert run(write(tmp_path / "tool.cwl", tool("true", requirements=environment))).code == 0
    (result,) = results(tmp_path)
    record = (result / "result.json").read_text()
    assert "TOKEN" in record
    assert "hunter2" not in record


@pytest.mark.parametrize(
    "options",
    [
        ("--log-dir", "logs"),
        ("--provenance", "provenance"),
        ("--provenance", "provenance", "--parallel"),
        ("--no-compute-checksum",),
        ("--leave-tmpdir",),
        ("--copy-outputs",),
        ("--debug",),
    ],
    ids=" ".join,
)
def test_other_options_go_with_it(
    run: Callable[..., Run], tmp_path: Path, options: tuple[str, ...]
) -> None:
    document = write(tmp_path / "w.cwl", chain(STAMP, f'cat "$0"; {STAMP}'))
    done = [run(document, None, *options) for _ in range(2)]
    assert [(each.code, each.hits) for each in done] == [(0, 0), (0, 2)], done[1].log
    assert done[0].text() == done[1].text()
    if "--log-dir" in options:
        (log,) = (tmp_path / "logs/s1").iterdir()
        assert log.read_text() == done[1].text()


def test_a_step_on_the_host_is_not_cached(run: Callable[..., Run], tmp_path: Path) -> None:
    content = tool(STAMP)
    del content["requirements"]["DockerRequirement"]
    document = write(tmp_path / "tool.cwl", content)
    texts = {run(document).text() for _ in range(2)}
    assert len(texts) == 2


def test_a_place_that_cannot_be_written_to(run_command: Command, tmp_path: Path) -> None:
    write(tmp_path / "tool.cwl", tool("true"))
    (tmp_path / "file").write_text("")
    done = run_command("cwltool", "--udss", "--cachedir", "file", "tool.cwl")
    assert done.returncode == 1
    assert "cannot be written to" in done.stderr
    assert len(done.stderr.splitlines()) == 1
