# SPDX-License-Identifier: Apache-2.0
"""Instructions of processors, as many as are needed to make system calls with constant arguments
and to look at what they return. All numbers have 32 bits. Calls: syscall(2)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

SCRATCH_ADDRESS = 0x10000000
"""Where there is memory to write to."""


class Processor(Protocol):
    """One kind of them."""

    @property
    def elf_machine(self) -> int:
        """As it is called in elf(5)."""

    def call(self, name: str, *arguments: int) -> bytes:
        """Make a system call."""

    def if_result(self, value: int, code: bytes) -> bytes:
        """Execute the code if the last call has returned this value."""

    def unless_result(self, value: int, code: bytes) -> bytes:
        """Execute the code if the last call has not."""


@dataclass(frozen=True)
class _X86:
    """Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2: MOV, CMP, Jcc."""

    calls: Mapping[str, int]
    elf_machine: int = 62

    def call(self, name: str, *arguments: int) -> bytes:
        registers = (b"\xbf", b"\xbe", b"\xba", b"\x41\xba", b"\x41\xb8")  # rdi rsi rdx r10 r8
        moves = [b"\xb8" + struct.pack("<I", self.calls[name])]  # rax
        moves += [
            register + struct.pack("<I", value)
            for register, value in zip(registers, arguments, strict=False)
        ]
        return b"".join(moves) + b"\x0f\x05"  # syscall

    def if_result(self, value: int, code: bytes) -> bytes:
        return self._compare(value) + b"\x0f\x85" + struct.pack("<i", len(code)) + code  # jne

    def unless_result(self, value: int, code: bytes) -> bytes:
        return self._compare(value) + b"\x0f\x84" + struct.pack("<i", len(code)) + code  # je

    def _compare(self, value: int) -> bytes:
        return b"\x3d" + struct.pack("<I", value)  # cmp eax


@dataclass(frozen=True)
class _Arm:
    """Arm Architecture Reference Manual for A-profile, C6: MOVZ, MOVK, SUBS, B.cond, SVC."""

    calls: Mapping[str, int]
    elf_machine: int = 183

    def call(self, name: str, *arguments: int) -> bytes:
        moves = [self._move(8, self.calls[name])]
        moves += [self._move(register, value) for register, value in enumerate(arguments)]
        return b"".join(moves) + struct.pack("<I", 0xD4000001)  # svc #0

    def if_result(self, value: int, code: bytes) -> bytes:
        return self._compare(value) + self._branch(1, code) + code  # b.ne

    def unless_result(self, value: int, code: bytes) -> bytes:
        return self._compare(value) + self._branch(0, code) + code  # b.eq

    def _move(self, register: int, value: int) -> bytes:
        low, high = value & 0xFFFF, value >> 16
        return struct.pack(
            "<II", 0x52800000 | low << 5 | register, 0x72A00000 | high << 5 | register
        )

    def _compare(self, value: int) -> bytes:
        return self._move(9, value) + struct.pack("<I", 0x6B09001F)  # cmp w0, w9

    def _branch(self, condition: int, over: bytes) -> bytes:
        return struct.pack("<I", 0x54000000 | (len(over) // 4 + 1) << 5 | condition)


X86_64 = _X86(
    {
        **{"write": 1, "rt_sigprocmask": 14, "clone": 56, "execve": 59, "wait4": 61},
        **{"fcntl": 72, "chdir": 80, "exit_group": 231},
    }
)
AARCH64 = _Arm(
    {
        **{"write": 64, "rt_sigprocmask": 135, "clone": 220, "execve": 221, "wait4": 260},
        **{"fcntl": 25, "chdir": 49, "exit_group": 94},
    }
)
