# SPDX-License-Identifier: Apache-2.0
"""System calls that a program makes from a table, on each processor that is known."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
from test_proot_filter import emulator

from cwl_udss.runtimes.machine_code.program import Call, Program, Variable
from cwl_udss.runtimes.status import FAILED, HAS_FAILED
from cwl_udss.runtimes.unshare.file_calls import mkdir, symlink, write_file
from cwl_udss.runtimes.unshare.initial import make_calls

MACHINES = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


def run(tmp_path: Path, machine: str, calls: list[Call]) -> tuple[int, bytes, Program]:
    """Make calls in a directory; return the exit code, what is said, and the program."""
    program = Program(machine)
    reading, writing = os.pipe()
    code = make_calls(program, calls, writing) + program.call("exit_group", 7)
    path = tmp_path / "program"
    path.write_bytes(program.elf(code))
    path.chmod(0o755)
    place = tmp_path / "place"
    place.mkdir()
    done = subprocess.run([*emulator(machine), path], pass_fds=[writing], cwd=place, check=False)
    os.close(writing)
    with open(reading, "rb") as stream:
        return done.returncode, stream.read(), program


@MACHINES
def test_calls_are_made_one_after_the_other(tmp_path: Path, machine: str) -> None:
    calls = [mkdir("a"), mkdir("a/b"), symlink("b", "a/c"), *write_file("a/c/file", b"content")]
    code, said, _ = run(tmp_path, machine, calls)
    assert (code, said) == (7, b"")
    assert (tmp_path / "place/a/b/file").read_bytes() == b"content"


@MACHINES
def test_a_result_is_an_argument_of_a_later_call(tmp_path: Path, machine: str) -> None:
    before = Call(name="umask", arguments=(0o027,), purpose="", result="mask")
    after = Call(name="umask", arguments=(Variable("mask"),), purpose="")
    old = os.umask(0o002)
    try:
        calls = [before, mkdir("without"), after, mkdir("with")]
        assert run(tmp_path, machine, calls)[0] == 7
    finally:
        os.umask(old)
    modes = [(tmp_path / "place" / name).stat().st_mode & 0o777 for name in ("without", "with")]
    assert modes == [0o750, 0o755]


@MACHINES
@pytest.mark.parametrize("position", [0, 1, 700])
def test_the_call_that_fails_is_the_last(tmp_path: Path, machine: str, position: int) -> None:
    calls = [mkdir(str(number)) for number in range(position)]
    calls += [mkdir("none/below"), mkdir("after")]
    code, said, program = run(tmp_path, machine, calls)
    assert code == 1
    assert said.startswith(HAS_FAILED)
    place, result = FAILED.unpack(said.removeprefix(HAS_FAILED))
    assert program.failed_call(place) is calls[position]
    assert result == -errno.ENOENT
    assert len(list((tmp_path / "place").iterdir())) == position


@MACHINES
def test_an_error_that_is_no_failure(tmp_path: Path, machine: str) -> None:
    code, said, _ = run(tmp_path, machine, [mkdir("a"), mkdir("a"), mkdir("b")])
    assert (code, said) == (7, b"")
    assert (tmp_path / "place/b").is_dir()


def test_programs_with_other_memory_have_other_calls() -> None:
    one, other = Program("x86_64"), Program("x86_64", address=0x20000000)
    for program in (one, other):
        make_calls(program, [mkdir("a")], 3)
    place = other.memory.address
    while True:
        place += 8
        try:
            assert other.failed_call(place).name == "mkdirat"
            break
        except LookupError:
            continue
    with pytest.raises(LookupError):
        one.failed_call(place)
