# SPDX-License-Identifier: Apache-2.0
"""Instructions of processors, as many as are needed to make system calls with constant arguments,
or those of a table, and to look at what they return. Numbers in instructions have 32 bits. Calls:
syscall(2)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

RECORD = struct.Struct("<9Q")
"""Of a call in a table: its number, where its first argument is, the other four, a result that is
no failure, where its result goes; then room for a first argument."""
OWN_ARGUMENT = 8 * 8
"""Where that room is."""


class Processor(Protocol):
    """One kind of them."""

    @property
    def elf_machine(self) -> int:
        """As it is called in elf(5)."""

    @property
    def calls(self) -> Mapping[str, int]:
        """The numbers of system calls."""

    def call(self, name: str, *arguments: int) -> bytes:
        """Make a system call."""

    def if_result(self, value: int, code: bytes) -> bytes:
        """Execute the code if the last call has returned this value."""

    def unless_result(self, value: int, code: bytes) -> bytes:
        """Execute the code if the last call has not."""

    def if_result_is_at(self, address: int, code: bytes) -> bytes:
        """Execute the code if the last call has returned what is at an address."""

    def repeat(self, code: bytes) -> bytes:
        """Execute the code again and again, until it ends the program."""

    def repeat_until(self, address: int, code: bytes) -> bytes:
        """Execute the code again and again, until its last call returns what is at the address."""

    def load(self, address: int) -> bytes:
        """Take what is at the address for the result of the last call."""

    def store(self, address: int) -> bytes:
        """Put the result of the last call there."""

    def make_calls(self, first: int, end: int, failed: int) -> bytes:
        """Make the calls of a table until one fails; the result is then its, and 0 else. Where it
        is in the table goes to `failed`, and its result after that."""


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

    def if_result_is_at(self, address: int, code: bytes) -> bytes:
        compare = b"\x3b\x04\x25" + struct.pack("<I", address)  # cmp eax,[address]
        return compare + b"\x0f\x85" + struct.pack("<i", len(code)) + code  # jne

    def repeat(self, code: bytes) -> bytes:
        return code + b"\xe9" + struct.pack("<i", -len(code) - 5)  # jmp

    def repeat_until(self, address: int, code: bytes) -> bytes:
        code += b"\x3b\x04\x25" + struct.pack("<I", address)  # cmp eax,[address]
        return code + b"\x0f\x85" + struct.pack("<i", -len(code) - 6)  # jne

    def load(self, address: int) -> bytes:
        return b"\x8b\x04\x25" + struct.pack("<I", address)  # mov eax,[address]

    def store(self, address: int) -> bytes:
        return b"\x89\x04\x25" + struct.pack("<I", address)  # mov [address],eax

    def make_calls(self, first: int, end: int, failed: int) -> bytes:
        return b"".join(
            (
                b"\xbb" + struct.pack("<I", first),  # mov ebx
                b"\x41\xbc" + struct.pack("<I", end),  # mov r12d
                bytes.fromhex("488b03 488b7b08 488b3f"),  # again: mov rax,[rbx]; rdi,[[rbx+8]]
                bytes.fromhex("488b7310 488b5318 4c8b5320 4c8b4328"),  # rsi, rdx, r10, r8
                bytes.fromhex("0f05 488b4b38 488901"),  # syscall; mov rcx,[rbx+56]; [rcx],rax
                bytes.fromhex("483b4330 7405"),  # cmp rax,[rbx+48]; je next
                bytes.fromhex("4885c0 780d"),  # test rax,rax; js failed
                bytes.fromhex("4883c348 4c39e3 72c9"),  # next: add rbx,72; cmp rbx,r12; jb again
                bytes.fromhex("31c0 eb10"),  # xor eax,eax; jmp done
                b"\x48\x89\x1c\x25" + struct.pack("<I", failed),  # failed: mov [failed],rbx
                b"\x48\x89\x04\x25" + struct.pack("<I", failed + 8),  # mov [failed+8],rax
            )
        )

    def _compare(self, value: int) -> bytes:
        return b"\x3d" + struct.pack("<I", value)  # cmp eax


@dataclass(frozen=True)
class _Arm:
    """Arm Architecture Reference Manual for A-profile, C6: MOVZ, MOVK, SUBS, LDR, STR, B.cond,
    SVC."""

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

    def if_result_is_at(self, address: int, code: bytes) -> bytes:
        compare = struct.pack("<2I", 0xB9400149, 0x6B09001F)  # ldr w9,[x10]; cmp w0,w9
        return self._move(10, address) + compare + self._branch(1, code) + code  # b.ne

    def repeat(self, code: bytes) -> bytes:
        return code + struct.pack("<I", 0x14000000 | (-len(code) // 4 & 0x3FFFFFF))  # b

    def repeat_until(self, address: int, code: bytes) -> bytes:
        code += self._move(9, address)
        code += struct.pack("<2I", 0xB9400129, 0x6B09001F)  # ldr w9,[x9]; cmp w0,w9
        return code + struct.pack("<I", 0x54000001 | (-len(code) // 4 & 0x7FFFF) << 5)  # b.ne

    def load(self, address: int) -> bytes:
        return self._move(9, address) + struct.pack("<I", 0xB9400120)  # ldr w0,[x9]

    def store(self, address: int) -> bytes:
        return self._move(9, address) + struct.pack("<I", 0xB9000120)  # str w0,[x9]

    def make_calls(self, first: int, end: int, failed: int) -> bytes:
        arguments = (0xF9400A61, 0xF9400E62, 0xF9401263, 0xF9401664)  # ldr x1…x4,[x19,#16…40]
        loop = (
            *(0xF9400268, 0xF9400660, 0xF9400000),  # again: ldr x8,[x19]; x0,[x19,#8]; x0,[x0]
            *arguments,
            *(0xD4000001, 0xF9401E69, 0xF9000120),  # svc #0; ldr x9,[x19,#56]; str x0,[x9]
            *(0xF9401A69, 0xEB09001F, 0x54000040),  # ldr x9,[x19,#48]; cmp x0,x9; b.eq next
            0xB7F800C0,  # tbnz x0,#63,failed
            *(0x91012273, 0xEB14027F, 0x54FFFE03),  # next: add x19,x19,#72; cmp x19,x20; b.lo again
            *(0xD2800000, 0x14000005),  # mov x0,#0; b done
        )
        return b"".join(
            (
                self._move(19, first) + self._move(20, end),
                struct.pack(f"<{len(loop)}I", *loop),
                self._move(9, failed),  # failed:
                struct.pack("<2I", 0xF9000133, 0xF9000520),  # str x19,[x9]; str x0,[x9,#8]
            )
        )

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
        **{"read": 0, "write": 1, "close": 3, "rt_sigprocmask": 14, "ioctl": 16, "socket": 41},
        **{"clone": 56, "execve": 59, "wait4": 61, "fcntl": 72, "chdir": 80, "umask": 95},
        **{
            "getrusage": 98,
            "capset": 126,
            "pivot_root": 155,
            "prctl": 157,
            "chroot": 161,
            "mount": 165,
        },
        **{"umount2": 166, "sethostname": 170, "exit_group": 231, "openat": 257, "mkdirat": 258},
        **{"mknodat": 259, "symlinkat": 266, "readlinkat": 267, "ppoll": 271, "unshare": 272},
        **{"signalfd4": 289, "dup3": 292, "mount_setattr": 442},
    }
)
AARCH64 = _Arm(
    {
        **{"dup3": 24, "fcntl": 25, "ioctl": 29, "mknodat": 33, "mkdirat": 34, "symlinkat": 36},
        **{"umount2": 39, "mount": 40, "pivot_root": 41, "chdir": 49, "chroot": 51, "openat": 56},
        **{"close": 57, "read": 63, "write": 64, "ppoll": 73, "signalfd4": 74, "readlinkat": 78},
        **{"capset": 91, "exit_group": 94, "unshare": 97, "rt_sigprocmask": 135},
        **{
            "sethostname": 161,
            "getrusage": 165,
            "umask": 166,
            "prctl": 167,
            "socket": 198,
            "clone": 220,
        },
        **{"execve": 221, "wait4": 260, "mount_setattr": 442},
    }
)
