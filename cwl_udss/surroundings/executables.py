# SPDX-License-Identifier: Apache-2.0
"""What the kernel reads of a program or a script before it executes it."""

from __future__ import annotations

import os
import platform
import struct
from dataclasses import dataclass

_BEGINNING_BYTES = 4096
_LONGEST_FIRST_LINE = 256  # BINPRM_BUF_SIZE in the kernel's binfmts.h; 128 before Linux 5.1
ELF = b"\x7fELF"

# e_machine in elf(5) and the kernel's elf-em.h, as uname(1) has them.
_MACHINES = {
    3: "i386",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}

_PROGRAM_HEADER_INTERPRETER = 3  # PT_INTERP


def beginning_of(path: str) -> bytes:
    """Return as much of a file as says how it is executed."""
    with open(path, "rb") as stream:
        return stream.read(_BEGINNING_BYTES)


def interpreter_of(beginning: bytes) -> bytes | None:
    """The interpreter that a script's first line names, b"" for none; None if that is cut off (the
    kernel's load_script())."""
    line, end, _ = beginning[:_LONGEST_FIRST_LINE].partition(b"\n")
    words = line[2:].strip(b" \t").replace(b"\t", b" ").split(b" ", 1)
    is_whole = bool(end) or len(words) > 1 or len(beginning) < _LONGEST_FIRST_LINE
    return words[0] if is_whole else None


def is_foreign(beginning: bytes) -> bool:
    """Say whether the kernel does not know what to do with a program or script."""
    if beginning.startswith(b"#!"):
        return not interpreter_of(beginning)
    if not beginning.startswith(ELF):
        return False
    try:
        return read_program(beginning).machine != platform.machine()
    except (struct.error, IndexError):
        return True


@dataclass(frozen=True, kw_only=True)
class Program:
    """What the header of a program says."""

    machine: str
    loader: str | None
    """The path of what loads it, if it is linked dynamically."""


def read_program(beginning: bytes) -> Program:
    """Read what elf(5) describes. Raises struct.error or IndexError if it is cut off."""
    is_64, order = beginning[4] == 2, "<>"[beginning[5] == 2]
    (number,) = struct.unpack_from(f"{order}H", beginning, 18)
    table = struct.unpack_from(f"{order}{'Q' if is_64 else 'I'}", beginning, 32 if is_64 else 28)[0]
    size, count = struct.unpack_from(f"{order}HH", beginning, 54 if is_64 else 42)
    loader = None
    for position in range(table, table + size * count, size or 1):
        (kind,) = struct.unpack_from(f"{order}I", beginning, position)
        if kind == _PROGRAM_HEADER_INTERPRETER:
            at, length = struct.unpack_from(
                f"{order}Q16xQ" if is_64 else f"{order}I8xI",
                beginning,
                position + (8 if is_64 else 4),
            )
            loader = os.fsdecode(beginning[at : at + length].partition(b"\0")[0])
    return Program(machine=_MACHINES.get(number, f"machine {number}"), loader=loader)
