# SPDX-License-Identifier: Apache-2.0
"""A run on a terminal is a table there, which leaves the terminal whole however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from commands import COMMANDS, Command
from terminals import CTRL_C, CTRL_Z, Terminal, terminal

IMAGE = {"DockerRequirement": {"dockerPull": "busybox:1.36"}}
HOSTILE = "sort [red]\x1b[31m\u202ename"
CWLTOOL = COMMANDS / "cwltool"


def tool(script: str, **inputs: str) -> dict[str, Any]:
    return {
        "class": "CommandLineTool",
        "hints": IMAGE,
        "inputs": {name: {"type": kind, "inputBinding": {}} for name, kind in inputs.items()},
        "outputs": {"out": "stdout"},
        "stdout": "out.txt",
        "baseCommand": ["sh", "-c", script],
    }


def write_workflow(path: Path, script: str, numbers: int = 4) -> None:
    """Write one of two steps, the second of which is scattered, and runs a script, `$0` of which is
    a number."""
    workflow = {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "requirements": {"ScatterFeatureRequirement": {}},
        "inputs": {"numbers": {"type": "int[]", "default": list(range(numbers))}},
        "outputs": {"out": {"type": "File[]", "outputSource": "many/out"}},
        "steps": {
            "first": {"run": tool("echo from first >&2; echo 1"), "in": {}, "out": ["out"]},
            "many": {
                "run": tool(script, item="int", later="File"),
                "scatter": "item",
                "in": {"item": "numbers", "later": "first/out"},
                "out": ["out"],
            },
        },
    }
    path.write_text(json.dumps(workflow))


def run_on(
    tmp_path: Path,
    environment: dict[str, str],
    *options: str,
    size: tuple[int, int] = (80, 24),
    **variables: str,
) -> contextlib.AbstractContextManager[Terminal]:
    return terminal(
        [CWLTOOL, "--udss", *options, tmp_path / "w.cwl"],
        directory=tmp_path,
        environment={**environment, "XDG_STATE_HOME": str(tmp_path / "state"), **variables},
        size=size,
        output=tmp_path / "outputs.json",
    )


def log_of(tmp_path: Path) -> str:
    [log] = (tmp_path / "state/cwl-udss/logs").iterdir()
    return log.read_text()


def test_a_table_and_a_log(tmp_path: Path, environment: dict[str, str]) -> None:
    write_workflow(tmp_path / "w.cwl", "echo said $0 >&2")
    with run_on(tmp_path, environment, FORCE_COLOR="1") as seen:
        assert seen.look_to_the_end() == 0
        text = seen.text
        assert seen.has_cursor
        assert seen.column == 0
    assert " ".join(text.split()).endswith("INFO Final process status is success")
    rows = [line.split() for line in text.splitlines()]
    assert ["done", "running", "waiting", "failed", "time", "left"] in rows
    assert ["many", "4", "-", "-", "-"] in [row[:5] for row in rows]
    assert ["all", "5", "-", "-", "-"] in [row[:5] for row in rows]
    assert text.count("\nmany ") == 1
    assert "[job many" not in text
    assert "from first" not in text
    log = log_of(tmp_path)
    assert "from first\n" in log
    assert "INFO [job many_4] completed success" in log
    assert "said 3\n" in log
    assert "\x1b" not in log
    assert str(next((tmp_path / "state/cwl-udss/logs").iterdir())) in text.replace("\n", "")
    assert len(json.loads((tmp_path / "outputs.json").read_text())["out"]) == 4


def test_what_is_wrong_is_seen_above_the_table(tmp_path: Path, environment: dict[str, str]) -> None:
    write_workflow(tmp_path / "w.cwl", 'echo "bad $0" >&2; [ $0 != 2 ]')
    with run_on(tmp_path, environment, "--on-error=continue", size=(200, 30)) as seen:
        assert seen.look_to_the_end() == 1
        lines = seen.text.splitlines()
        assert seen.has_cursor
    [exit_status] = [n for n, line in enumerate(lines) if "exited with status: 1" in line]
    assert lines[exit_status].startswith("WARNING [job many_3]")
    said = lines.index("many (3) has said:")
    assert lines[said + 1] == "  | bad 2"
    [titles] = [n for n, line in enumerate(lines) if line.split()[:1] == ["done"]]
    assert exit_status < said < titles
    assert lines[titles + 2].split()[:5] == ["many", "3/4", "-", "-", "1"]
    assert any(line.startswith("cwltool: the log is in ") for line in lines[titles:])


@pytest.mark.parametrize("size", [(20, 10), (200, 50), (80, 5), (1, 1)])
def test_a_terminal_of_any_size(
    size: tuple[int, int], tmp_path: Path, environment: dict[str, str]
) -> None:
    write_workflow(tmp_path / "w.cwl", "sleep 0.6", numbers=2)
    with run_on(tmp_path, environment, size=size) as seen:
        assert seen.look_to_the_end() == 0
        assert "Traceback" not in seen.text
        if size[0] == 20:
            assert "3/3 done" in seen.lines
        if size[0] >= 80:
            assert any(line.split()[:2] == ["all", "3"] for line in seen.lines)


ENDS = {
    "Ctrl-C": (CTRL_C, 130),
    "SIGTERM": (signal.SIGTERM, 15),
    "SIGHUP": (signal.SIGHUP, 129),
    "SIGKILL": (signal.SIGKILL, -9),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_run_that_is_ended_leaves_the_screen_whole(
    name: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    write_workflow(tmp_path / "w.cwl", "sleep 39")
    how, code = ENDS[name]
    with run_on(tmp_path, environment) as seen:
        seen.look_for("many 0/4 1")
        if isinstance(how, bytes):
            seen.type(how)
        else:
            seen.process.send_signal(how)
        assert seen.look_to_the_end() == code
        assert seen.has_cursor
        if name != "SIGKILL":
            assert seen.column == 0
            assert "cwltool: the log is in" in seen.text
            assert seen.text.count("\nmany ") == 1


def test_it_is_stopped_and_goes_on(tmp_path: Path, environment: dict[str, str]) -> None:
    write_workflow(tmp_path / "w.cwl", "sleep 1", numbers=3)
    with terminal(
        ["bash", "--norc", "--noprofile", "-i"],
        directory=tmp_path,
        environment={**environment, "PS1": "prompt> ", "XDG_STATE_HOME": str(tmp_path / "state")},
    ) as seen:
        seen.type(b"cwltool --udss w.cwl > outputs.json\n")
        seen.look_for("many 0/3 1")
        seen.type(CTRL_Z)
        seen.look_until(lambda seen: seen.lines[-1].strip() == "prompt>")
        assert seen.has_cursor
        stopped = list(seen.lines)
        seen.look(1.5)
        assert seen.lines == stopped
        seen.type(b"echo in between; fg\n")
        seen.look_for("Final process status is success")
        text = seen.text
    assert "\n".join(stopped[:-1]) in text
    assert "\nin between\n" in text
    assert text.count("\nmany ") == 2


def test_another_size(tmp_path: Path, environment: dict[str, str]) -> None:
    write_workflow(tmp_path / "w.cwl", "sleep 1", numbers=3)
    with run_on(tmp_path, environment) as seen:
        seen.look_for("many 0/3 1")
        seen.resize(40, 24)
        seen.look_until(lambda seen: "1 running" in seen.lines)
        assert seen.look_to_the_end() == 0
        assert "4/4 done" in seen.lines


@pytest.mark.parametrize(
    ("options", "variables"),
    [
        (["--debug"], {}),
        (["--udss-progress=no"], {}),
        ([], {"TERM": "dumb"}),
        ([], {"CWL_UDSS_PROGRESS": "no"}),
    ],
)
def test_the_log_is_back(
    options: list[str],
    variables: dict[str, str],
    tmp_path: Path,
    environment: dict[str, str],
) -> None:
    write_workflow(tmp_path / "w.cwl", "true", numbers=1)
    with run_on(tmp_path, environment, *options, size=(200, 60), **variables) as seen:
        assert seen.look_to_the_end() == 0
        assert "[job many] completed success" in seen.text
        assert "from first" in seen.text
        assert "waiting" not in seen.text
    assert not (tmp_path / "state").exists()


def test_quiet_is_quiet(tmp_path: Path, environment: dict[str, str]) -> None:
    write_workflow(tmp_path / "w.cwl", "true", numbers=1)
    with run_on(tmp_path, environment, "--quiet") as seen:
        assert seen.look_to_the_end() == 0
        assert seen.text.strip() == "from first"


def test_without_a_terminal(run_command: Command, tmp_path: Path) -> None:
    """The log is where it is looked for, also where others would take it for a terminal; or in a
    file, with a line of what has become of all."""
    write_workflow(tmp_path / "w.cwl", "true", numbers=2)
    done = run_command("cwltool", "--udss", "w.cwl", FORCE_COLOR="1")
    assert done.returncode == 0
    assert "[job many_2] completed success" in done.stderr
    assert "\x1b[2K" not in done.stderr
    state = str(tmp_path / "state")
    done = run_command("cwltool", "--udss", "--udss-progress=yes", "w.cwl", XDG_STATE_HOME=state)
    assert done.returncode == 0
    assert "[job" not in done.stderr
    assert ": 3 done" in done.stderr
    assert "[job many_2] completed success" in log_of(tmp_path)


def test_no_place_for_a_log(tmp_path: Path, environment: dict[str, str]) -> None:
    """Then it goes to the temporary directory."""
    write_workflow(tmp_path / "w.cwl", "echo many words >&2", numbers=1)
    (tmp_path / "file").touch()
    with run_on(tmp_path, environment, XDG_STATE_HOME=str(tmp_path / "file")) as seen:
        assert seen.look_to_the_end() == 0
        assert f"{environment['TMPDIR']}/cwl-udss-{os.getuid()}-" in seen.text.replace("\n", "")


def test_an_unprintable_name_is_text(tmp_path: Path, environment: dict[str, str]) -> None:
    write_workflow(tmp_path / "w.cwl", "true", numbers=1)
    document = json.loads((tmp_path / "w.cwl").read_text())
    document["steps"][HOSTILE] = document["steps"].pop("first")
    document["steps"]["many"]["in"]["later"] = f"{HOSTILE}/out"
    (tmp_path / "w.cwl").write_text(json.dumps(document))
    with run_on(tmp_path, environment) as seen:
        code = seen.look_to_the_end()
        assert code == 0, seen.text
        assert "sort [red] [31m name" in seen.text
