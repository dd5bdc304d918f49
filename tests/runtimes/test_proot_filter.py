# SPDX-License-Identifier: Apache-2.0
"""What the filter around PRoot decides, and the program that it starts first."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from needs import need
from test_seccomp import AARCH64, ALLOW, I386, NOT_IMPLEMENTED, REFUSE, X86_64, run

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.machine_code.ended import ended
from cwl_udss.runtimes.proot.filter import proot_filter
from cwl_udss.runtimes.proot.first import IS_RUNNING, NOT_EXECUTED, first_program

ERROR = 0x00050000
NO_FAMILY, NO_ACCESS, SUCCEED = ERROR | errno.EAFNOSUPPORT, ERROR | errno.EACCES, ERROR
UNIX, INTERNET = 1, 2
READ_AND_TRUNCATE, WRITE_AND_TRUNCATE = os.O_TRUNC, os.O_WRONLY | os.O_TRUNC
OF = {X86_64: "x86_64", I386: "x86_64", AARCH64: "aarch64"}


@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize(
    ("architecture", "call"), [(X86_64, 41), (I386, 359), (AARCH64, 198)], ids=["64", "32", "arm64"]
)
def test_sockets(architecture: int, call: int, network: bool) -> None:
    program = proot_filter(network=network, machine=OF[architecture])
    assert run(program, architecture, call, UNIX)[0] == ALLOW
    assert run(program, architecture, call, INTERNET)[0] == (ALLOW if network else NO_FAMILY)


def test_the_old_way_to_make_sockets_is_no_way_round() -> None:
    assert run(proot_filter(network=False), I386, 102, 1)[0] == NOT_IMPLEMENTED
    assert run(proot_filter(network=True), I386, 102, 1)[0] == ALLOW


@pytest.mark.parametrize(
    ("architecture", "calls"),
    [
        pytest.param(X86_64, (437, 439, 452, 463, 469, 322, 316, 332, 303), id="paths"),
        pytest.param(X86_64, (29, 64, 68, 240, 241, 425), id="what all of a user's share"),
        pytest.param(I386, (437, 439, 452, 358, 353, 383, 341, 117, 395), id="32-bit"),
        pytest.param(AARCH64, (437, 439, 452, 281, 276, 291, 264, 194, 190, 186), id="arm64"),
    ],
)
def test_calls_that_are_not_there(architecture: int, calls: tuple[int, ...]) -> None:
    program = proot_filter(network=True, machine=OF[architecture])
    assert {run(program, architecture, call)[0] for call in calls} == {NOT_IMPLEMENTED}


@pytest.mark.parametrize(
    ("call", "own", "others", "answer"),
    [
        pytest.param(203, (0, 0), (7, 0), SUCCEED, id="sched_setaffinity"),
        pytest.param(144, (0, 0), (7, 0), SUCCEED, id="sched_setscheduler"),
        pytest.param(302, (0, 7), (7, 7), REFUSE, id="prlimit64"),
        pytest.param(141, (0, 0), (0, 7), REFUSE, id="setpriority"),
        pytest.param(141, (0, 0), (1, 0), REFUSE, id="setpriority of a group"),
        pytest.param(141, (0, 0), (2, 0), REFUSE, id="setpriority of a user"),
        pytest.param(251, (1, 0), (1, 7), REFUSE, id="ioprio_set"),
        pytest.param(251, (1, 0), (3, 0), REFUSE, id="ioprio_set of a user"),
    ],
)
def test_other_processes_are_left_as_they_are(
    call: int, own: tuple[int, int], others: tuple[int, int], answer: int
) -> None:
    program = proot_filter(network=False, machine="x86_64")
    assert run(program, X86_64, call, *own)[0] == ALLOW
    assert run(program, X86_64, call, *others)[0] == answer


@pytest.mark.parametrize(("call", "place"), [(2, 1), (76, 0)], ids=["open", "truncate"])
def test_files_are_not_emptied_by_who_may_only_read(call: int, place: int) -> None:
    new, old = (
        proot_filter(network=False, forbids_truncating=forbids, machine="x86_64")
        for forbids in (False, True)
    )
    assert run(new, X86_64, call, 0, READ_AND_TRUNCATE)[0] == ALLOW
    assert run(old, X86_64, call, 0, READ_AND_TRUNCATE)[0] == NO_ACCESS
    if place:
        assert run(old, X86_64, call, 0, WRITE_AND_TRUNCATE)[0] == ALLOW
        assert run(old, X86_64, call, 0, os.O_RDONLY)[0] == ALLOW


def emulator(machine: str) -> list[str]:
    """What executes programs for a processor here."""
    if machine == os.uname().machine:
        return []
    program = shutil.which(f"qemu-{machine}-static")
    if program is None:
        need("needs the Debian package qemu-user-static")
    return [str(program)]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        pytest.param(("sh", "-c", 'echo "$0:$V:$PWD"; exit 7', "word"), 7, id="exits"),
        pytest.param(("/bin/sh", "-c", 'echo "$0:$V:$PWD"; kill -9 $$', "word"), -9, id="killed"),
    ],
)
def test_the_first_program_says_how_the_command_ends(
    tmp_path: Path, machine: str, command: tuple[str, ...], code: int
) -> None:
    output, said = run_first(tmp_path, machine, command)
    assert output == "word:a b:/etc\n"
    assert said.startswith(IS_RUNNING)
    end = ended(said.removeprefix(IS_RUNNING))
    assert end is not None
    assert end.code == code
    assert end.counted.largest_kibibytes > 100


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("name", ["none", "/etc/passwd", "/", ""])
def test_and_that_it_could_not_be_executed(tmp_path: Path, machine: str, name: str) -> None:
    _, said = run_first(tmp_path, machine, (name,))
    assert said.startswith(IS_RUNNING + NOT_EXECUTED)


def run_first(tmp_path: Path, machine: str, command: tuple[str, ...]) -> tuple[str, bytes]:
    """The standard output of a first program, and what it says to its descriptor."""
    reading, writing = os.pipe()
    program = tmp_path / "first"
    environment = {"PATH": "/nowhere:/bin", "V": "a b"}
    program.write_bytes(first_program(command, environment, "/etc", writing, machine))
    program.chmod(0o755)
    done = subprocess.run(
        [*emulator(machine), program],
        pass_fds=(writing,),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    os.close(writing)
    with open(reading, "rb") as stream:
        return done.stdout, stream.read()


def test_processors_that_are_not_known() -> None:
    with pytest.raises(SandboxError, match="riscv64"):
        first_program(("true",), {}, "/", 3, "riscv64")
    with pytest.raises(SandboxError, match="riscv64"):
        proot_filter(network=False, machine="riscv64")
