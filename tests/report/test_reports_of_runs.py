# SPDX-License-Identifier: Apache-2.0
"""A page is written of each run that wants one, however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from commands import COMMANDS, Command
from reports import begin, end, node, step

from cwl_udss.batch.record import read_run
from cwl_udss.report.journal import JOURNAL, Journal, UnreadableRun, read_journal

IMAGE = {"DockerRequirement": {"dockerPull": "busybox:1.36"}}
REPORT = ("cwltool", "--udss", "--udss-report", "report.html")


def tool(script: str, **more: Any) -> dict[str, Any]:
    return {
        "class": "CommandLineTool",
        "hints": IMAGE,
        "inputs": {"file": "File?"},
        "outputs": {"out": "stdout"},
        "stdout": "out.txt",
        "baseCommand": ["sh", "-c", script],
        **more,
    }


def nested() -> dict[str, Any]:
    """Two steps, one in a workflow that is scattered, an expression, and one that needs both."""
    inner = {
        "class": "Workflow",
        "inputs": {"file": "File?"},
        "outputs": {"out": {"type": "File", "outputSource": "sort/out"}},
        "steps": {"sort": {"run": tool("echo sorted"), "in": {"file": "file"}, "out": ["out"]}},
    }
    count = {
        "class": "ExpressionTool",
        "inputs": {"file": "File"},
        "outputs": {"n": "int"},
        "expression": '${return {"n": 1};}',
    }
    last = tool("echo last; echo warned >&2", inputs={"files": "File[]", "n": "int"})
    return {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "label": "Makes a word",
        "requirements": {
            "InlineJavascriptRequirement": {},
            "ScatterFeatureRequirement": {},
            "SubworkflowFeatureRequirement": {},
        },
        "inputs": {"files": "File[]"},
        "outputs": {"word": {"type": "File", "outputSource": "last/out", "doc": "The word itself"}},
        "steps": {
            "make": {"run": tool("echo made"), "in": {}, "out": ["out"]},
            "call": {"run": inner, "scatter": "file", "in": {"file": "files"}, "out": ["out"]},
            "count": {"run": count, "in": {"file": "make/out"}, "out": ["n"]},
            "last": {"run": last, "in": {"files": "call/out", "n": "count/n"}, "out": ["out"]},
        },
    }


def write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps({"cwlVersion": "v1.2", **document}))


def data(page: Path) -> dict[str, Any]:
    """What the page's scripts draw."""
    [island] = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text()
    )
    found = json.loads(island)
    assert isinstance(found, dict)
    return found


def statuses(page: Path) -> dict[str, str]:
    made = data(page)
    names = (
        made["steps"][row[1]] + ("" if row[2] is None else f" ({row[2]})") for row in made["rows"]
    )
    words = (made["statuses"][row[3]] for row in made["rows"])
    return dict(zip(names, words, strict=True))


def test_a_run_that_is_a_success(run_command: Command, tmp_path: Path) -> None:
    write(tmp_path / "nested.cwl", nested())
    (tmp_path / "a.txt").write_text("abc")
    files = [{"class": "File", "location": "a.txt"}] * 2
    write(tmp_path / "job.json", {"files": files})
    done = run_command(*REPORT, "--parallel", "nested.cwl", "job.json")
    assert done.returncode == 0, done.stderr
    page = tmp_path / "report.html"
    assert statuses(page) == dict.fromkeys(
        ("make", "call/sort (1)", "call/sort (2)", "last"), "COMPLETED"
    )
    nodes = {node["path"]: node for node in data(page)["nodes"]}
    assert {path: node["before"] for path, node in nodes.items()} == {
        "make": [],
        "call/sort": [],
        "count": ["make"],
        "last": ["call/sort", "count"],
    }
    assert [path for path, node in nodes.items() if not node["has_jobs"]] == ["count"]
    text = page.read_text()
    assert "sha1$a9993e364706816aba3e25717850c26c9cd0d89d" in text  # of what a.txt has
    assert json.loads(done.stdout)["word"]["checksum"] in text
    assert "The word itself" in text
    assert "Makes a word" in text
    assert re.search(r"sha256:[0-9a-f]{64}", text)


def test_a_run_that_has_failed(run_command: Command, tmp_path: Path) -> None:
    write(tmp_path / "tool.cwl", tool("echo the reason >&2; exit 3", stdout="said"))
    done = run_command(*REPORT, "tool.cwl")
    assert done.returncode == 1
    text = (tmp_path / "report.html").read_text()
    assert "What failed first: tool.cwl" in text
    assert "the reason\n</pre>" in text
    assert "exited, exit code 3" in text
    assert "WARNING [job tool.cwl] exited with status: 3" in text
    assert "the reason" in done.stderr


def test_what_a_step_says_is_also_where_it_was_before(run_command: Command, tmp_path: Path) -> None:
    """Also if it is much, and goes into a file."""
    script = "busybox yes | busybox head -c 3000000 >&2; echo end >&2; exit 1"
    write(tmp_path / "tool.cwl", tool(script, stderr="said", successCodes=[1]))
    done = run_command(*REPORT, "tool.cwl")
    assert done.returncode == 0, done.stderr
    write(tmp_path / "tool.cwl", tool(script))
    done = run_command(*REPORT, "tool.cwl")
    assert done.stderr.count("y\n") == 1_500_000
    assert re.search(r"(y\n)+end\n</pre>", (tmp_path / "report.html").read_text())


def test_a_document_that_asks_for_what_cannot_be(run_command: Command, tmp_path: Path) -> None:
    """It fails before it has any step."""
    document = tool("true", requirements={"ResourceRequirement": {"coresMin": 100_000}})
    write(tmp_path / "tool.cwl", document)
    done = run_command(*REPORT, "--parallel", "tool.cwl")
    assert done.returncode == 1
    text = (tmp_path / "report.html").read_text()
    assert "<strong>Failed</strong>" in text
    assert "100000 cores" in text


def test_a_run_that_cannot_begin(run_command: Command, tmp_path: Path) -> None:
    image = {"DockerRequirement": {"dockerPull": "none:1"}}
    write(tmp_path / "tool.cwl", tool("true", hints=image))
    done = run_command(*REPORT, "--udss-offline", "tool.cwl")
    assert done.returncode == 1
    text = (tmp_path / "report.html").read_text()
    assert "<strong>Failed</strong>" in text
    assert re.search(r"not in the store .*none:1", text)


@pytest.mark.parametrize("options", [(), ("--parallel",)])
def test_a_run_that_is_ended(
    environment: dict[str, str], tmp_path: Path, options: tuple[str, ...]
) -> None:
    write(tmp_path / "tool.cwl", tool("echo begun >&2; sleep 60"))
    driver = subprocess.Popen(
        [COMMANDS / REPORT[0], *REPORT[1:], *options, "tool.cwl"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert driver.stderr is not None
    while "begun" not in driver.stderr.readline():
        pass
    driver.send_signal(signal.SIGTERM)
    driver.communicate(timeout=60)
    assert statuses(tmp_path / "report.html") == {"tool.cwl": "ABORTED"}
    assert "<strong>Failed</strong>" in (tmp_path / "report.html").read_text()


def test_a_report_that_cannot_be_written_fails_no_run(run_command: Command, tmp_path: Path) -> None:
    write(tmp_path / "tool.cwl", tool("true"))
    for path in ("/dev/full", "none/report.html"):
        done = run_command("cwltool", "--udss", "--udss-report", path, "tool.cwl")
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("cannot be written") == 1
        assert "Traceback" not in done.stderr
    before = (tmp_path / "tool.cwl").read_bytes()
    done = run_command("cwltool", "--udss", "--udss-report", "tool.cwl", "tool.cwl")
    assert done.returncode == 1
    assert "tool.cwl is no report, and is not overwritten" in done.stderr
    assert (tmp_path / "tool.cwl").read_bytes() == before


def test_secrets_are_in_no_report(run_command: Command, tmp_path: Path) -> None:
    document = tool(
        'echo "$0" >&2; exit 1',
        inputs={"word": {"type": "string", "inputBinding": {}}},
        hints={**IMAGE, "cwltool:Secrets": {"secrets": ["word"]}},
    )
    write(
        tmp_path / "tool.cwl",
        {"$namespaces": {"cwltool": "http://commonwl.org/cwltool#"}, **document},
    )
    for document in ("tool.cwl", "none.cwl"):
        done = run_command(*REPORT, "--enable-ext", document, "--word", "hunter2")
        assert done.returncode == 1
        assert "hunter2" not in (tmp_path / "report.html").read_text()
        assert document in (tmp_path / "report.html").read_text()


def test_a_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    journal = Journal(path)
    written = (begin(node("a", "b", is_scattered=True)), step(1, "a", 0, 1), end(3))
    journal.begin(written[0])
    journal.add(written[1])
    journal.end(written[2])
    journal.close()
    assert read_journal(path) == (written[0], [written[1]], written[2])


def test_a_journal_whose_driver_was_killed(tmp_path: Path) -> None:
    """Another goes on: what it tells of the same steps counts, and half a line is none."""
    path = tmp_path / JOURNAL
    first, second = Journal(path), step(2, "b", 1, 2)
    first.begin(begin(node("a")))
    first.add(step(1, "a", 0, 1))
    first.add(second)
    first.end(end(1))
    first.close()
    with path.open("ab") as stream:
        stream.write(b'{"step": {"num')
    later = Journal(path)
    later.begin(begin(node("a"), host="other"))
    again = step(1, "a", 0, 7)
    later.add(again)
    later.close()
    found, steps, ended = read_journal(path)
    assert (found.host, ended) == ("other", None)
    assert steps == [again, second]


@pytest.mark.parametrize(
    "content", [b"", b"\0\xff{\n", b"[]\n7\n", b'{"begin": {}}\n{"step": {"number": 1}}\n']
)
def test_a_journal_that_is_none(run_command: Command, tmp_path: Path, content: bytes) -> None:
    (tmp_path / JOURNAL).write_bytes(content)
    done = run_command("cwl-udss", "report", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"cwl-udss: .*does not say how the run began.*\n", done.stderr)
    assert not (tmp_path / "report.html").exists()


def test_a_directory_of_no_run(run_command: Command, tmp_path: Path) -> None:
    with pytest.raises(UnreadableRun, match="cannot be read"):
        read_run(tmp_path)
    done = run_command("cwl-udss", "report", "none")
    assert re.fullmatch(r"cwl-udss: .*/none/steps.jsonl cannot be read: .*\n", done.stderr)


def test_a_journal_without_room(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(Path("/dev/full"))
    for _ in range(3):
        journal.add(step(1, "a", 0, 1))
    [record] = caplog.records
    assert "is not whole" in record.getMessage()
    assert os.path.exists("/dev/full")


def test_it_is_soon_written(tmp_path: Path) -> None:
    """A line costs a driver next to nothing."""
    journal, record = Journal(tmp_path / JOURNAL), step(1, "a", 0, 1)
    began = time.process_time()
    for _ in range(1000):
        journal.add(record)
    assert time.process_time() - began < 1
    journal.close()
