# SPDX-License-Identifier: Apache-2.0
"""A program of a processor's instructions, and what it needs in memory, as an ELF file: elf(5)."""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.machine_code.processors import (
    AARCH64,
    OWN_ARGUMENT,
    RECORD,
    X86_64,
    Processor,
)

_PROCESSORS: Mapping[str, Processor] = {"x86_64": X86_64, "aarch64": AARCH64}
_CODE_ADDRESS, MEMORY_ADDRESS = 0x400000, 0x10000000
_PAGE = 0x10000  # the largest that there is
_HEADERS = 64 + 2 * 56
_WORD = (1 << 64) - 1


@dataclass(frozen=True)
class Variable:
    """The result of an earlier call: what it is called."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Call:
    """A system call, made by a program."""

    name: str
    arguments: tuple[int | bytes | Variable, ...]
    """Of bytes their address is meant; only the first may be a variable."""
    purpose: str
    """What cannot be done if it fails, for a person."""
    advice: str = ""
    tolerated: int = 0
    """An error number that is no failure."""
    result: str = ""
    """The variable that its result is."""


class Memory:
    """What a program has in memory when it starts, to be read and written."""

    def __init__(self, address: int) -> None:
        self.address = address
        self._content = bytearray()
        self._known: dict[bytes, int] = {}

    @property
    def content(self) -> bytes:
        """All of it."""
        return bytes(self._content)

    def add(self, content: bytes) -> int:
        """Return where a content is, which begins where any number may."""
        self._content += bytes(-len(self._content) % 8)
        address = self.address + len(self._content)
        self._content += content
        return address

    def constant(self, content: bytes) -> int:
        """Return where a content is that nobody changes."""
        address = self._known.get(content)
        if address is None:
            address = self._known[content] = self.add(content)
        return address

    def replace(self, address: int, content: bytes) -> None:
        """Put another content of the same size in a place."""
        begin = address - self.address
        self._content[begin : begin + len(content)] = content

    def words(self, words: Sequence[bytes]) -> int:
        """Return where there are pointers to words, as execve(2) takes them."""
        addresses = [self.add(word + b"\0") for word in words]
        return self.add(struct.pack(f"<{len(words) + 1}Q", *addresses, 0))


class Program:
    """A program in the making: its memory, and instructions."""

    def __init__(self, machine: str | None = None, address: int = MEMORY_ADDRESS) -> None:
        """`address` is of its memory; programs that have others are told apart by it (see
        failed_call). Raises SandboxError on an architecture whose instructions are not known."""
        machine = machine or platform.machine()
        try:
            self.processor = _PROCESSORS[machine]
        except KeyError:
            raise SandboxError(
                f"no program can be made for {machine}",
                f"they can for {' and '.join(_PROCESSORS)}",
            ) from None
        self.memory = Memory(address)
        self.call = self.processor.call
        self._variables: dict[str, int] = {}
        self._tables: dict[int, Sequence[Call]] = {}
        self._nowhere = self.memory.add(bytes(8))

    def say(self, descriptor: int, words: bytes) -> bytes:
        """Write words to a descriptor."""
        return self.call("write", descriptor, self.memory.constant(words), len(words))

    def make_calls(self, calls: Sequence[Call], failed: int) -> bytes:
        """Make calls, one after the other, until one fails (see Processor.make_calls()); which of
        them that was, failed_call() says."""
        begin = self.memory.add(bytes(RECORD.size * len(calls)))
        end = begin + RECORD.size * len(calls)
        records = map(self._record, calls, range(begin, end, RECORD.size))
        self.memory.replace(begin, b"".join(records))
        self._tables[begin] = calls
        return self.processor.make_calls(begin, end, failed)

    def failed_call(self, place: int) -> Call:
        """Return the call of a table that is at this place. Raises LookupError if none is."""
        for begin, calls in self._tables.items():
            if begin <= place < begin + RECORD.size * len(calls):
                return calls[(place - begin) // RECORD.size]
        raise LookupError(place)

    def elf(self, code: bytes) -> bytes:
        """Return the program that executes a code: a segment that is read and executed, and one of
        memory."""
        memory = self.memory.content
        size = _HEADERS + len(code)
        offset = -(-size // _PAGE) * _PAGE
        header = struct.pack(
            "<16sHHIQQQIHHHHHH",
            b"\x7fELF\x02\x01\x01",
            *(2, self.processor.elf_machine, 1, _CODE_ADDRESS + _HEADERS),  # ET_EXEC, e_entry
            *(64, 0, 0, 64, 56, 2, 0, 0, 0),  # program headers, and no sections
        )
        readable, writable = 4 | 1, 4 | 2
        for flags, place, address, length in (
            (readable, 0, _CODE_ADDRESS, size),
            (writable, offset, self.memory.address, len(memory)),
        ):
            header += struct.pack(
                "<IIQQQQQQ", 1, flags, place, address, address, length, length, _PAGE
            )
        return (header + code).ljust(offset, b"\0") + memory

    def _record(self, call: Call, place: int) -> bytes:
        first, *others = map(self._argument, call.arguments)
        is_variable = isinstance(call.arguments[0], Variable)
        others += [0] * (4 - len(others))
        return RECORD.pack(
            self.processor.calls[call.name],
            first if is_variable else place + OWN_ARGUMENT,
            *others,
            -call.tolerated & _WORD,
            self._variable(call.result) if call.result else self._nowhere,
            0 if is_variable else first,
        )

    def _argument(self, argument: int | bytes | Variable) -> int:
        if isinstance(argument, int):
            return argument & _WORD
        if isinstance(argument, Variable):
            return self._variable(argument.name)
        return self.memory.constant(argument)

    def _variable(self, name: str) -> int:
        if name not in self._variables:
            self._variables[name] = self.memory.add(bytes(8))
        return self._variables[name]
