# SPDX-License-Identifier: Apache-2.0
"""Where a run's time goes, in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Command
from workflows import write_chain

from cwl_udss.report.trace import traced, tracing


def test_a_run_is_traced(run_command: Command, tmp_path: Path) -> None:
    write_chain(tmp_path / "chain.cwl", 3)
    done = run_command("cwltool", "--udss", "--udss-trace-events", "trace.json", "chain.cwl")
    assert done.returncode == 0, done.stderr
    *events, name = json.loads((tmp_path / "trace.json").read_text())
    assert name["ph"] == "M"
    whats = {event["name"] for event in events}
    assert whats == {
        *("load", "evaluate", "image", "stage", "sandbox start", "run", "collect", "relocate"),
    }
    for number in range(3):
        mine = [event for event in events if event.get("args") == {"step": f"step{number}"}]
        order = [event["name"] for event in sorted(mine, key=lambda event: event["ts"])]
        assert [what for what in order if what not in ("stage", "evaluate")] == [
            *("image", "sandbox start", "run", "collect"),
        ]
    assert all(event["dur"] >= 0 for event in events)


def test_a_file_that_cannot_be_written(run_command: Command, tmp_path: Path) -> None:
    write_chain(tmp_path / "chain.cwl", 1)
    done = run_command("cwltool", "--udss", "--udss-trace-events", "none/trace.json", "chain.cwl")
    assert done.returncode == 1
    assert "the trace" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_trace_stays(run_command: Command, tmp_path: Path) -> None:
    """Who has forgotten FILE has named the workflow."""
    write_chain(tmp_path / "chain.cwl", 1)
    before = (tmp_path / "chain.cwl").read_bytes()
    (tmp_path / "input.json").write_text("{}")
    done = run_command("cwltool", "--udss", "--udss-trace-events", "chain.cwl", "input.json")
    assert done.returncode == 1
    assert "chain.cwl is no trace" in done.stderr
    assert (tmp_path / "chain.cwl").read_bytes() == before


def test_a_trace_replaces_an_earlier_one(run_command: Command, tmp_path: Path) -> None:
    write_chain(tmp_path / "chain.cwl", 1)
    for _ in range(2):
        done = run_command("cwltool", "--udss", "--udss-trace-events", "trace.json", "chain.cwl")
        assert done.returncode == 0, done.stderr
    events = json.loads((tmp_path / "trace.json").read_text())
    assert len({event["pid"] for event in events}) == 1


def test_a_full_disk_ends_the_trace_and_not_the_run(run_command: Command, tmp_path: Path) -> None:
    write_chain(tmp_path / "chain.cwl", 1)
    done = run_command("cwltool", "--udss", "--udss-trace-events", "/dev/full", "chain.cwl")
    assert done.returncode == 0, done.stderr
    assert "the trace /dev/full is not whole: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_ends_after_the_trace_is_left_out(tmp_path: Path) -> None:
    with tracing(tmp_path / "trace.json"):
        late = traced("run", "late")
    with late:
        pass
    assert [event["ph"] for event in json.loads((tmp_path / "trace.json").read_text())] == ["M"]


def test_the_disk_fills_up_in_the_middle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with tracing(Path("/dev/full")):
        for number in range(5_000):
            with traced("run", f"step{number}"):
                pass
    (record,) = caplog.records
    assert "is not whole" in record.getMessage()
