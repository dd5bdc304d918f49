# SPDX-License-Identifier: Apache-2.0
"""The steps of a job, one after the other, and what SIGTERM does to them at each moment."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mortal import remaining

from cwl_udss.steps.image import StepImage
from cwl_udss.steps.spec import NodeSettings, StepEnding, StepSpec, read_result, to_json

JOB = """
import sys
from cwl_udss import cli
sys.argv = ["cwl-udss", "step", "--job", *sys.argv[1:]]
cli.main()
"""
# A signal that comes while what the first step has made is being put in its place.
SIGNALLED_AT_THE_END = """
import os, signal
from cwl_udss.files import copies
move = copies.move
def move_when_signalled(*arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    return move(*arguments)
copies.move = move_when_signalled
"""
# A signal that comes as soon as somebody has begun a step, before there is anything to be ended.
SIGNALLED_AT_THE_BEGINNING = """
import os, signal
link = os.link
def link_and_be_signalled(*arguments, **more):
    link(*arguments, **more)
    os.kill(os.getpid(), signal.SIGTERM)
os.link = link_and_be_signalled
"""
# The filesystem that all nodes share is full.
FULL = """
import errno, os
from cwl_udss.files import copies
def move(source, target):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)
copies.move = move
"""
# A signal that comes when bubblewrap has just been started. There is no result as long as there are
# processes.
SIGNALLED_AT_THE_START = """
import os, signal, sys
from cwl_udss.runtimes.bubblewrap import bwrap
from cwl_udss.steps import runner
class RuntimeProcess(bwrap.RuntimeProcess):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)
bwrap.RuntimeProcess = RuntimeProcess
publish_file = runner.publish_file
def publish_when_alone(*arguments):
    try:
        os.waitpid(-1, os.WNOHANG)
        print("a process is left", file=sys.stderr)
    except ChildProcessError:
        publish_file(*arguments)
runner.publish_file = publish_when_alone
"""


def step(run: Path, name: str, root: Path, script: str, **more: Any) -> Path:
    """Write down a step that runs a script."""
    directory = run / "steps" / name
    (directory / "staged").mkdir(parents=True)
    (run / "ended").mkdir(exist_ok=True)
    spec = StepSpec(
        name=name,
        image=StepImage(digest="", path=str(root), format="directory"),
        command=("sh", "-c", script),
        environment={"PATH": "/bin"},
        output_directory="/out",
        binds=(),
        directories=(),
        network=False,
        shared_memory_bytes=None,
        cores=None,
        stdin=None,
        stdout=None,
        stderr=None,
        time_limit=None,
        needed_bytes=0,
        settings=NodeSettings(
            store=str(run / "store"),
            library=(),
            scratch=None,
            scratch_images=0,
            runtime="auto",
            accept=(),
            required={},
            bwrap=None,
        ),
    )
    (directory / "spec.json").write_bytes(to_json(replace(spec, **more)))
    return directory


def start(*steps: Path, circumstances: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", circumstances + JOB, *map(str, steps)],
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, content: str = "") -> None:
    give_up = time.monotonic() + 30
    while not path.exists() or content not in path.read_text():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_one_after_the_other(busybox_root: Path, tmp_path: Path) -> None:
    steps = [
        step(tmp_path, f"s{code}", busybox_root, f"touch made{code}; exit {code}")
        for code in (0, 3)
    ]
    job = start(*steps)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 3, said
    results = [read_result(each) for each in steps]
    assert [list(result.outputs) for result in results] == [["made0"], ["made3"]]


def test_told_to_end_while_outputs_are_put_in_place(busybox_root: Path, tmp_path: Path) -> None:
    """The step has ended, and well; the next one is not begun, and can be run by another job."""
    first, second = (step(tmp_path, name, busybox_root, f"touch {name}") for name in ("a", "b"))
    job = start(first, second, circumstances=SIGNALLED_AT_THE_END)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 128 + signal.SIGTERM, said
    assert read_result(first).ending is StepEnding.EXITED
    assert read_result(first).image == f"{busybox_root}, by name only"
    assert (first / "outputs/a").exists()
    assert not (second / "started.json").exists()


def test_a_tool_that_was_told_to_end_has_not_failed(busybox_root: Path, tmp_path: Path) -> None:
    """Who ends a job signals the tool's processes, too, and those may be faster than we are."""
    failed = step(tmp_path, "a", busybox_root, "exit 1")
    job = start(failed, circumstances=SIGNALLED_AT_THE_END)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 1, said
    assert read_result(failed).ending is StepEnding.TERMINATED


@pytest.mark.parametrize("circumstances", ["", SIGNALLED_AT_THE_BEGINNING, SIGNALLED_AT_THE_START])
def test_a_step_that_is_ended_has_a_result(
    busybox_root: Path, tmp_path: Path, circumstances: str
) -> None:
    script = f"echo begun; sleep 976; : {tmp_path}"
    first, second = (step(tmp_path, name, busybox_root, script) for name in ("a", "b"))
    job = start(first, second, circumstances=circumstances)
    if not circumstances:
        wait_for(first / "stdout", "begun")
        job.terminate()
    _, said = job.communicate(timeout=60)
    assert job.returncode == 128 + signal.SIGTERM, said
    result = read_result(first)
    assert result.ending is StepEnding.TERMINATED
    if not circumstances:  # else nothing has run
        assert result.usage is not None
        assert result.usage.memory_bytes is not None
        assert result.usage.memory_bytes > 100_000
    assert "Traceback" not in said
    assert not (second / "started.json").exists()
    assert not list(tmp_path.glob("steps/a/work"))
    assert remaining(str(tmp_path)) == []


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_a_step_says_where_there_is_no_room(
    busybox_root: Path, tmp_path: Path, stream: str
) -> None:
    script = "echo said; echo said >&2; sleep 0.2"
    job = start(failed := step(tmp_path, "a", busybox_root, script, **{stream: "/dev/full"}))
    _, said = job.communicate(timeout=60)
    result = read_result(failed)
    assert (job.returncode, result.exit_code, result.ending) == (1, 1, StepEnding.NOT_KEPT)
    words = "what the step says cannot be written to /dev/full: No space left on device"
    assert f"{result.node}: {words}" in result.problem
    assert f"cwl-udss: {result.problem}\n" in said


def test_what_a_step_leaves_where_there_is_no_room(busybox_root: Path, tmp_path: Path) -> None:
    failed = step(tmp_path, "a", busybox_root, "echo left > file")
    job = start(failed, circumstances=FULL)
    _, said = job.communicate(timeout=60)
    result = read_result(failed)
    assert (job.returncode, result.ending) == (1, StepEnding.NOT_KEPT), said
    assert f"{result.node}: what it has left: " in result.problem
    assert "No space left on device" in result.problem
    assert result.usage is not None
    assert result.usage.memory_bytes is not None
    assert not (failed / "outputs").exists()


def test_a_stream_that_cannot_be_opened(busybox_root: Path, tmp_path: Path) -> None:
    refused = step(tmp_path, "a", busybox_root, "true", stdin=str(tmp_path / "none"))
    _, said = start(refused).communicate(timeout=60)
    assert read_result(refused).ending is StepEnding.REFUSED, said
