# SPDX-License-Identifier: Apache-2.0
"""Programs that are made for a step, on each processor."""

from __future__ import annotations

import signal
import struct
import subprocess
from pathlib import Path

import pytest
from test_proot_filter import emulator

from cwl_udss.runtimes.machine_code.command import (
    CHILD_HAS_ENDED,
    count_all,
    end_like,
    wait,
)
from cwl_udss.runtimes.machine_code.ended import ENDED, ended
from cwl_udss.runtimes.machine_code.program import Program


def run(program: Program, code: bytes, tmp_path: Path, machine: str) -> tuple[int, bytes]:
    """The exit code, and what is said."""
    path = tmp_path / "program"
    path.write_bytes(program.elf(code))
    path.chmod(0o755)
    command = [*emulator(machine), path]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(("kept", "said"), [(3, b"3\nended\n"), (4, b"ended\n")])
def test_a_result_is_compared_with_one_before(
    tmp_path: Path, machine: str, kept: int, said: bytes
) -> None:
    program = Program(machine)
    address = program.memory.add(struct.pack("<Q", kept))
    code = program.call("dup3", 1, 3, 0)
    code += program.processor.if_result_is_at(address, program.say(1, b"3\n"))
    code += program.say(1, b"ended\n") + program.call("exit_group", 0)
    assert run(program, code, tmp_path, machine) == (0, said)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(("exits", "code"), [(0, 0), (3, 1)])
def test_one_child_is_waited_for_among_others(
    tmp_path: Path, machine: str, exits: int, code: int
) -> None:
    program = Program(machine)
    call, status = program.call, program.memory.add(bytes(ENDED.size))
    number = program.memory.add(bytes(8))
    pause = program.memory.add(struct.pack("<2q", 0, 200_000_000))  # struct timespec
    others = call("clone", CHILD_HAS_ENDED, 0, 0, 0, 0)
    others += program.processor.if_result(0, call("exit_group", 7))
    awaited = call("clone", CHILD_HAS_ENDED, 0, 0, 0, 0) + program.processor.store(number)
    pausing = call("ppoll", 0, 0, pause, 0, 0) + program.say(1, b"awaited\n")
    awaited += program.processor.if_result(0, pausing + call("exit_group", exits))
    waiting = program.processor.repeat_until(number, wait(program, status))
    end = program.say(1, b"ended\n") + end_like(program, status)
    code_of_all = others + awaited + others + waiting + end
    assert run(program, code_of_all, tmp_path, machine) == (code, b"awaited\nended\n")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("seconds", [0, 60], ids=["nobody is left", "somebody is left"])
def test_who_has_ended_is_waited_for(tmp_path: Path, machine: str, seconds: int) -> None:
    """Who goes on is not waited for."""
    program = Program(machine)
    call, status = program.call, program.memory.add(bytes(ENDED.size))
    number = program.memory.add(bytes(8))
    pause, rest = (
        program.memory.add(struct.pack("<2q", *time)) for time in ((0, 300_000_000), (seconds, 0))
    )
    clone = call("clone", CHILD_HAS_ENDED, 0, 0, 0, 0)
    die_with_us = call("prctl", 1, signal.SIGKILL, 0, 0, 0)
    going_on = die_with_us + call("ppoll", 0, 0, rest, 0, 0) + call("exit_group", 0)
    code = clone + program.processor.if_result(0, going_on)
    code += clone + program.processor.store(number)
    code += program.processor.if_result(0, call("ppoll", 0, 0, pause, 0, 0) + call("exit_group", 3))
    code += program.processor.repeat_until(number, wait(program, status))
    code += count_all(program, status)
    code += call("write", 1, status, ENDED.size) + call("exit_group", 0)
    exit_code, said = run(program, code, tmp_path, machine)
    end = ended(said)
    assert exit_code == 0
    assert end is not None
    assert end.code == 3
