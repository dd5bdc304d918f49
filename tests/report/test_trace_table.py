# SPDX-License-Identifier: Apache-2.0
"""A table of the steps that have ended, as Nextflow has it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import COMMANDS, Command
from workflows import write_chain

from cwl_udss.report.nextflow import HEAD, show_duration, show_memory, show_percent, trace_line
from cwl_udss.report.record import Asked, Ran, Status, StepRecord, Times, read_record
from cwl_udss.report.trace_table import TraceTable
from cwl_udss.sandbox import MemorySource, Usage

NEXTFLOW = (
    *("task_id", "hash", "native_id", "name", "status", "exit", "submit", "duration", "realtime"),
    *("%cpu", "peak_rss", "peak_vmem", "rchar", "wchar"),
)
RECORD = StepRecord(
    number=7,
    step="call/sort",
    index=3,
    job="sort_3",
    tool="sort.cwl",
    status=Status.COMPLETED,
    asked=Asked(cores=2, memory_bytes=4 << 30, seconds=3600),
    image="busybox:1.36",
    digest="sha256:0123",
    command=("sort", "a b"),
    problem="",
    ran=Ran(
        exit_code=0,
        ending="exited",
        node="node1",
        native_id="17",
        times=Times(ready=1000.0, submitted=1000.5, started=1002.0, ended=1005.5),
        usage=Usage(
            user_seconds=3.0,
            system_seconds=0.5,
            memory_bytes=268_749_005,
            memory_source=MemorySource.LOOKED_AT,
            largest_bytes=198,
            read_bytes=0,
            written_bytes=94_310,
            major_faults=0,
            processes=None,
        ),
        directory="/runs/steps/sort_3.ab1234567890abcd.01234567",
        key="ab1234567890abcd",
    ),
)


def fields(line: str) -> dict[str, str]:
    return dict(zip(HEAD.split("\t"), line.split("\t"), strict=True))


def table(path: Path) -> list[dict[str, str]]:
    head, *lines = path.read_text().splitlines()
    assert head == HEAD
    return [fields(line) for line in lines]


def tool(script: str, **more: Any) -> dict[str, Any]:
    return {
        "class": "CommandLineTool",
        "cwlVersion": "v1.2",
        "hints": {"DockerRequirement": {"dockerPull": "busybox:1.36"}},
        "inputs": {},
        "outputs": {},
        "baseCommand": ["sh", "-c", script],
        **more,
    }


def write(path: Path, document: Mapping[str, Any]) -> str:
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.2574, "257ms"),
        (3, "3s"),
        (3.5, "3.5s"),
        (59.94, "59.9s"),
        (59.99, "1m"),
        (62, "1m 2s"),
        (3600, "1h"),
        (3723, "1h 2m 3s"),
        (90_000, "1d 1h"),
    ],
)
def test_times_are_nextflows(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (198, "198 B"),
        (1023, "1023 B"),
        (1024, "1 KB"),
        (94_310, "92.1 KB"),
        (268_749_005, "256.3 MB"),
        (256 << 20, "256 MB"),
        (3 << 40, "3 TB"),
    ],
)
def test_amounts_are_nextflows(size: int, text: str) -> None:
    assert show_memory(size) == text


def test_parts_of_a_processor() -> None:
    assert show_percent(1.25) == "125.0%"


def test_the_columns_are_nextflows() -> None:
    assert HEAD.split("\t")[:14] == [*NEXTFLOW]


def test_a_line_for_people() -> None:
    line = fields(trace_line(RECORD, is_raw=False))
    submitted = line.pop("submit")
    assert re.fullmatch(r"19(69|70)-\d\d-\d\d \d\d:\d\d:40\.500", submitted)
    del line["start"], line["complete"]
    assert line == {
        "task_id": "7",
        "hash": "ab/123456",
        "native_id": "17",
        "name": "call/sort (3)",
        "status": "COMPLETED",
        "exit": "0",
        "duration": "5s",
        "realtime": "3.5s",
        "%cpu": "100.0%",
        "peak_rss": "256.3 MB",
        "peak_vmem": "-",
        "rchar": "-",
        "wchar": "-",
        "process": "call/sort",
        "tag": "3",
        "cpus": "2",
        "memory": "4 GB",
        "time": "1h",
        "container": "busybox:1.36",
        "hostname": "node1",
        "workdir": RECORD.ran.directory,
        "read_bytes": "0",
        "write_bytes": "92.1 KB",
        "job": "sort_3",
        "digest": "sha256:0123",
        "ending": "exited",
        "user_time": "3s",
        "system_time": "500ms",
        "largest_rss": "198 B",
        "memory_source": "looked at",
        "major_faults": "0",
        "processes": "-",
    }


def test_a_line_for_programs() -> None:
    line = fields(trace_line(RECORD, is_raw=True))
    assert (line["submit"], line["start"], line["complete"]) == ("1000500", "1002000", "1005500")
    assert (line["duration"], line["realtime"], line["%cpu"]) == ("5000", "3500", "100.0")
    assert (line["peak_rss"], line["memory"], line["time"]) == (
        "268749005",
        "4294967296",
        "3600000",
    )


def test_what_is_not_known_is_absent() -> None:
    unknown = StepRecord(
        number=1,
        step="name\twith\nblanks",
        index=None,
        job="",
        tool="",
        status=Status.ABORTED,
        asked=Asked(),
        image="",
        digest="",
        command=(),
        problem="",
        ran=Ran(),
    )
    for is_raw in (False, True):
        line = fields(trace_line(unknown, is_raw=is_raw))
        present = {name for name, text in line.items() if text != "-"}
        assert present == {"task_id", "hash", "name", "status", "process"}
        assert line["name"] == "name with blanks"


def test_a_record_is_read_as_it_was_written() -> None:
    assert read_record(json.loads(RECORD.line())) == RECORD


def test_a_run_has_a_line_for_each_step(run_command: Command, tmp_path: Path) -> None:
    steps = {
        "make": {
            "run": tool("true", hints={"ResourceRequirement": {"coresMin": 1, "ramMin": 100}}),
            "in": {},
            "out": [],
        },
        "many": {
            "run": tool(
                "exit $0",
                inputs={"code": {"type": "int", "inputBinding": {}}},
                successCodes=[0, 3],
                hints={"DockerRequirement": {"dockerPull": "busybox:1.36"}},
            ),
            "scatter": "code",
            "in": {"code": "codes"},
            "out": [],
        },
    }
    write(
        tmp_path / "workflow.cwl",
        {
            "class": "Workflow",
            "cwlVersion": "v1.2",
            "requirements": {"ScatterFeatureRequirement": {}},
            "inputs": {"codes": "int[]"},
            "outputs": {},
            "steps": steps,
        },
    )
    (tmp_path / "job.json").write_text('{"codes": [0, 3, 4]}')
    command = ("cwltool", "--udss", "--on-error", "continue", "--udss-trace-table", "trace.tsv")
    done = run_command(*command, "workflow.cwl", "job.json")
    assert done.returncode == 1, done.stderr
    lines = {line["name"]: line for line in table(tmp_path / "trace.tsv")}
    assert sorted(lines) == ["make", "many (1)", "many (2)", "many (3)"]
    on_host, *_, failed = (lines[name] for name in sorted(lines))
    assert [lines[f"many ({number})"]["exit"] for number in (1, 2, 3)] == ["0", "3", "4"]
    assert [line["status"] for line in lines.values()].count("COMPLETED") == 3
    assert failed["status"] == "FAILED"
    assert re.fullmatch(r"[\d.]+ [KM]B", failed["peak_rss"])
    assert re.fullmatch(r"[\d.]+%", failed["%cpu"])
    assert failed["container"] == "busybox:1.36"
    assert failed["digest"].startswith("sha256:")
    # Without an image it ran on the host, where nobody counts.
    assert (on_host["memory"], on_host["peak_rss"], on_host["exit"]) == ("100 MB", "-", "0")
    assert on_host["realtime"].endswith("ms")


def test_a_step_whose_result_was_there(run_command: Command, tmp_path: Path) -> None:
    write(tmp_path / "tool.cwl", tool("true"))
    command = ("cwltool", "--udss", "--cachedir", "cache", "--udss-trace-table", "trace.tsv")
    statuses = []
    for _ in range(2):
        done = run_command(*command, "tool.cwl")
        assert done.returncode == 0, done.stderr
        [line] = table(tmp_path / "trace.tsv")
        statuses.append(line["status"])
    assert statuses == ["COMPLETED", "CACHED"]
    assert (line["exit"], line["realtime"], line["peak_rss"]) == ("0", "-", "-")


def test_an_image_that_cannot_be_had(run_command: Command, tmp_path: Path) -> None:
    image = {"DockerRequirement": {"dockerPull": "none:1"}}
    write(tmp_path / "tool.cwl", tool("true", hints=image))
    done = run_command(
        "cwltool", "--udss", "--udss-trace-table", "trace.tsv", "--udss-offline", "tool.cwl"
    )
    assert done.returncode == 1
    assert (tmp_path / "trace.tsv").read_text() == f"{HEAD}\n"
    done = run_command("cwltool", "--udss", "--udss-trace-table", "trace.tsv", "tool.cwl")
    [line] = table(tmp_path / "trace.tsv")
    assert (line["status"], line["exit"], line["start"]) == ("FAILED", "-", "-")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    """What has ended is there already, and what ran is told if anybody can tell it."""
    write_chain(tmp_path / "chain.cwl", 3)
    document = json.loads((tmp_path / "chain.cwl").read_text())
    slow = tool("sleep 60", inputs={"before": "File?"}, stdout="out", outputs={"out": "stdout"})
    document["steps"]["step2"]["run"] = slow
    write(tmp_path / "chain.cwl", document)
    command = [COMMANDS / "cwltool", "--udss", "--udss-trace-table", "trace.tsv", "chain.cwl"]
    driver = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    give_up = time.monotonic() + 60
    while not (tmp_path / "trace.tsv").exists() or len(table(tmp_path / "trace.tsv")) < 2:
        assert time.monotonic() < give_up
        time.sleep(0.1)
    time.sleep(1)
    os.kill(driver.pid, number)
    driver.wait()
    statuses = {line["name"]: line["status"] for line in table(tmp_path / "trace.tsv")}
    assert statuses.pop("step2", "ABORTED") == "ABORTED"
    assert statuses == {"step0": "COMPLETED", "step1": "COMPLETED"}


def test_a_full_disk_ends_the_table_and_not_the_run(run_command: Command, tmp_path: Path) -> None:
    write_chain(tmp_path / "chain.cwl", 1)
    done = run_command("cwltool", "--udss", "--udss-trace-table", "/dev/full", "chain.cwl")
    assert done.returncode == 0, done.stderr
    words = "the trace table /dev/full is not whole: No space left on device"
    assert done.stderr.count(words) == 1
    assert "Traceback" not in done.stderr


def test_a_table_that_cannot_be_written(run_command: Command, tmp_path: Path) -> None:
    write_chain(tmp_path / "chain.cwl", 1)
    before = (tmp_path / "chain.cwl").read_bytes()
    for name, words in (("none/t.tsv", "cannot be written"), ("chain.cwl", "is no trace table")):
        done = run_command("cwltool", "--udss", "--udss-trace-table", name, "chain.cwl")
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert (tmp_path / "chain.cwl").read_bytes() == before


def test_a_line_is_written_at_once(tmp_path: Path) -> None:
    made = TraceTable(tmp_path / "trace.tsv", is_raw=True)
    made.add(RECORD)
    assert len(table(tmp_path / "trace.tsv")) == 1
    made.close()
    made.add(RECORD)
    assert len(table(tmp_path / "trace.tsv")) == 1
