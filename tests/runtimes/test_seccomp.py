# SPDX-License-Identifier: Apache-2.0
"""What the system call filter decides, by running its program as the kernel does."""

from __future__ import annotations

import errno
import struct

import pytest

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.seccomp import seccomp_program

ALLOW = 0x7FFF0000
KILL = 0x80000000
REFUSE = 0x00050000 | errno.EPERM
NOT_IMPLEMENTED = 0x00050000 | errno.ENOSYS

X86_64, I386, AARCH64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028


def decide(machine: str, architecture: int, call: int, first: int = 0, second: int = 0) -> int:
    """What the filter of a machine answers to a call."""
    program = seccomp_program(machine)
    decision, _ = run(program, architecture, call, first, second)
    return decision


def run(
    program: bytes, architecture: int, call: int, first: int = 0, second: int = 0
) -> tuple[int, int]:
    """An interpreter of classic BPF: linux/filter.h, and struct seccomp_data of linux/seccomp.h.
    Returns the decision, and how many instructions it took."""
    data = struct.pack("=IIQ6Q", call, architecture, 0, first, second, 0, 0, 0, 0)
    instructions = list(struct.iter_unpack("=HBBI", program))
    position, accumulator, taken = 0, 0, 0
    while True:
        code, if_true, if_false, value = instructions[position]
        position += 1
        taken += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x06:
            return int(value), taken
        else:
            holds = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: accumulator & value != 0,
            }[code]
            position += if_true if holds else if_false


@pytest.mark.parametrize(
    ("machine", "architecture", "call", "first", "second", "expected"),
    [
        pytest.param("x86_64", X86_64, 0, 0, 0, ALLOW, id="read"),
        pytest.param("x86_64", X86_64, 59, 0, 0, ALLOW, id="execve"),
        pytest.param("x86_64", X86_64, 101, 0, 0, ALLOW, id="ptrace, for debuggers and MPI"),
        pytest.param("x86_64", X86_64, 310, 0, 0, ALLOW, id="process_vm_readv, for MPI"),
        pytest.param("x86_64", X86_64, 165, 0, 0, REFUSE, id="mount"),
        pytest.param("x86_64", X86_64, 250, 0, 0, REFUSE, id="keyctl"),
        pytest.param("x86_64", X86_64, 272, 0, 0, REFUSE, id="unshare"),
        pytest.param("x86_64", X86_64, 435, 0, 0, NOT_IMPLEMENTED, id="clone3"),
        pytest.param("x86_64", X86_64, 425, 0, 0, NOT_IMPLEMENTED, id="io_uring_setup"),
        pytest.param("x86_64", X86_64, 56, 0x01200011, 0, ALLOW, id="fork"),
        pytest.param("x86_64", X86_64, 56, 0x10000011, 0, REFUSE, id="clone, new user namespace"),
        pytest.param("x86_64", X86_64, 16, 1, 0x5401, ALLOW, id="ioctl TCGETS"),
        pytest.param("x86_64", X86_64, 16, 1, 0x5412, REFUSE, id="ioctl TIOCSTI"),
        pytest.param("x86_64", X86_64, 16, 1, 0x1_0000_5412, REFUSE, id="TIOCSTI, high bits set"),
        pytest.param("x86_64", X86_64, 16, 1, 0x541C, REFUSE, id="ioctl TIOCLINUX"),
        pytest.param("x86_64", X86_64, 0x40000000, 0, 0, NOT_IMPLEMENTED, id="x32"),
        pytest.param("x86_64", I386, 3, 0, 0, ALLOW, id="32-bit read"),
        pytest.param("x86_64", I386, 21, 0, 0, REFUSE, id="32-bit mount"),
        pytest.param("x86_64", I386, 54, 1, 0x5412, REFUSE, id="32-bit TIOCSTI"),
        pytest.param("x86_64", ARM, 3, 0, 0, KILL, id="another architecture"),
        pytest.param("aarch64", AARCH64, 63, 0, 0, ALLOW, id="arm64 read"),
        pytest.param("aarch64", AARCH64, 40, 0, 0, REFUSE, id="arm64 mount"),
        pytest.param("aarch64", AARCH64, 29, 1, 0x5412, REFUSE, id="arm64 TIOCSTI"),
        pytest.param("aarch64", X86_64, 0, 0, 0, KILL, id="arm64, foreign"),
    ],
)
def test_decisions(
    machine: str, architecture: int, call: int, first: int, second: int, expected: int
) -> None:
    assert decide(machine, architecture, call, first, second) == expected


@pytest.mark.parametrize("pretend", [False, True])
@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", X86_64), ("aarch64", AARCH64)])
def test_every_call_is_decided_in_a_few_instructions(
    machine: str, architecture: int, pretend: bool
) -> None:
    program = seccomp_program(machine, pretend=pretend)
    assert max(run(program, architecture, call)[1] for call in range(600)) <= 16


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(SandboxError, match="vax"):
        seccomp_program("vax")
