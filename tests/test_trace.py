# SPDX-License-Identifier: Apache-2.0
"""Where a run's time goes, in a file."""

from __future__ import annotations

import json
from pathlib import Path

from commands import Command
from workflows import write_chain


def test_a_run_is_traced(run_command: Command, tmp_path: Path) -> None:
    write_chain(tmp_path / "chain.cwl", 3)
    done = run_command("cwltool", "--udss", "--udss-trace", "trace.json", "chain.cwl")
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
    done = run_command("cwltool", "--udss", "--udss-trace", "none/trace.json", "chain.cwl")
    assert done.returncode == 1
    assert "the trace" in done.stderr
    assert "Traceback" not in done.stderr
