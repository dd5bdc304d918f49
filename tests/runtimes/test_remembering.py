# SPDX-License-Identifier: Apache-2.0
"""What is remembered of trying a program, for whom, and for how long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Command
from machines import without_namespaces

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.bubblewrap.probe import bundled_bubblewrap
from cwl_udss.runtimes.choosing.choice import RuntimeFinder
from cwl_udss.runtimes.probing import memory
from cwl_udss.runtimes.probing.attempts import Facts
from cwl_udss.runtimes.probing.memory import Memory
from cwl_udss.sandbox import RootFilesystem, Runtime, Sandbox, Streams

PRINT = "from cwl_udss.runtimes.probing.memory import circumstances; print(circumstances())"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "program").write_text("1")
    return tmp_path / "program"


@pytest.fixture
def recall(tmp_path: Path, program: Path) -> Callable[[], Facts]:
    """What a command that begins now knows of the program, which it asks for what is in it."""

    def answer() -> Facts:
        text = program.read_text()
        if text == "broken":
            raise SandboxError("it is broken", "mend it")
        return {"version": text}

    return lambda: Memory(tmp_path, {}).recall(str(program), answer)


def change(program: Path, text: str) -> None:
    """Have other contents in a program without anybody seeing it but by executing it."""
    before = program.stat()
    program.write_text(text)
    os.utime(program, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_was_tried_is_not_tried_again(recall: Callable[[], Facts], program: Path) -> None:
    assert recall() == {"version": "1"}
    change(program, "2")
    assert recall() == {"version": "1"}


@pytest.mark.parametrize("is_replaced", [True, False], ids=["replaced", "written to"])
def test_another_program_is(recall: Callable[[], Facts], program: Path, is_replaced: bool) -> None:
    recall()
    if is_replaced:
        change(program, "2")
        (program.parent / "other").write_text("2")
        (program.parent / "other").replace(program)
    else:
        program.write_text("2")
    assert recall() == {"version": "2"}


def test_a_refusal_is_remembered_for_some_minutes(
    recall: Callable[[], Facts], program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.write_text("broken")
    with pytest.raises(SandboxError, match="it is broken: mend it"):
        recall()
    change(program, "mended")
    with pytest.raises(SandboxError, match="it is broken: mend it"):
        recall()
    monkeypatch.setattr(memory, "REFUSAL_SECONDS", 0)
    assert recall() == {"version": "mended"}


def test_what_is_forgotten_is_tried_again(tmp_path: Path, program: Path) -> None:
    def facts() -> Facts:
        return {"version": program.read_text()}

    first = Memory(tmp_path, {})
    first.recall(str(program), facts)
    assert not first.forget()  # it was tried in this process
    first.recall(str(program), facts)
    change(program, "2")
    second = Memory(tmp_path, {})
    assert second.recall(str(program), facts) == {"version": "1"}
    assert second.forget()
    assert second.recall(str(program), facts) == {"version": "2"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 3}', b"\xff"])
def test_a_damaged_memory_is_none(
    tmp_path: Path, recall: Callable[[], Facts], content: bytes
) -> None:
    recall()
    (file,) = tmp_path.glob("cwl-udss-*/tried/*.json")
    file.write_bytes(content)
    assert recall() == {"version": "1"}


def test_without_a_place_for_it_all_is_tried(tmp_path: Path, program: Path) -> None:
    nowhere = Memory(tmp_path / "none", {})
    assert nowhere.recall(str(program), lambda: {"version": "1"}) == {"version": "1"}


def test_it_is_not_for_who_is_confined_otherwise(tmp_path: Path) -> None:
    """Other namespaces, no new privileges, and Landlock, of which nothing tells."""
    landlocked = f"""
from cwl_udss.runtimes.proot.landlock import *
forbid_new_privileges()
restrict([Rule("/"), Rule({str(tmp_path)!r}, True)], landlock_abi())
exec({PRINT!r})
"""
    machines = [(), without_namespaces(), ("setpriv", "--no-new-privs")]
    said = [
        subprocess.run(
            [*machine, sys.executable, "-c", script], capture_output=True, check=True
        ).stdout
        for machine, script in (*((machine, PRINT) for machine in machines), ((), landlocked))
    ]
    assert len(set(said)) == 4
    again = subprocess.run([sys.executable, "-c", PRINT], capture_output=True, check=True)
    assert again.stdout == said[0]


def test_an_answer_that_is_wrong_now_is_found_out_by_using_it(
    tmp_path: Path, busybox_root: Path, runtime: Bubblewrap
) -> None:
    """Of a bwrap that does nothing any more, though the file seems to be the same."""
    good = f'exec {runtime.path} "$@"'
    script = tmp_path / "bwrap"
    script.write_text(f"#!/bin/sh\n{good}\n")
    script.chmod(0o755)
    sandbox = Sandbox(
        root=RootFilesystem(path=busybox_root),
        command=("true",),
        environment={"PATH": "/bin"},
        working_directory="/",
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def finder() -> RuntimeFinder:
        return RuntimeFinder("auto", (), str(script), scratch, os.environ)

    finder().find()
    change(script, f"#!/bin/sh\n{'exit 1':{len(good)}}\n")
    tried = []

    def run(used: Runtime) -> int:
        tried.append(used)
        with open(os.devnull, "wb") as nothing:
            streams = Streams(stdout=nothing.fileno(), stderr=nothing.fileno())
            return used.start(sandbox, streams).wait().exit_code

    with pytest.raises(SandboxError, match="is it bubblewrap"):
        finder().use(run)
    assert len(tried) == 1
    change(script, f"#!/bin/sh\n{good}\n")
    assert finder().use(run) == 0


def test_a_run_goes_on_with_another_bwrap(
    run_command: Command, registry: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Of two, the first of which was remembered to work, and does nothing any more."""
    bundled = bundled_bubblewrap().path
    good = f'exec {bundled} "$@"'
    script = tmp_path / "bin/bwrap"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\n{good}\n")
    script.chmod(0o755)
    path = f"{script.parent}:{environment['PATH']}"
    tool = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "requirements": {"DockerRequirement": {"dockerPull": "busybox:1.36"}},
        "baseCommand": ["echo", "ran"],
        "inputs": [],
        "stdout": "out",
        "outputs": {"out": "stdout"},
    }
    (tmp_path / "tool.cwl").write_text(json.dumps(tool))
    for content, used in ((good, str(script)), (f"{'exit 1':{len(good)}}", bundled)):
        change(script, f"#!/bin/sh\n{content}\n")
        done = run_command("cwltool", "--udss", "tool.cwl", PATH=path)
        assert done.returncode == 0, done.stderr
        assert f"({used})" in done.stderr.replace("\n", "")
