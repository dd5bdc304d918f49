# SPDX-License-Identifier: Apache-2.0
"""A run of one of the commands, as the server sees it."""

from __future__ import annotations

import asyncio
import marshal
import os
from dataclasses import dataclass
from typing import Any


@dataclass
class Output:
    """What a command prints in the end."""

    out: str = ""
    error: str = ""
    code: int = 0
    stay: bool = False
    """Whether qsub may leave a process behind."""

    def fail(self, text: str, number: int) -> None:
        """Complain; of several, the last number counts."""
        self.error += f"{text}\n"
        self.code = number & 255


class Call:
    """A command at the other end of a socket, which pbs_client.py is."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.command = ""
        self.arguments: list[str] = []
        self.environment: dict[str, str] = {}
        self.directory = ""

    async def begin(self) -> None:
        """Receive the command line. Raises EOFError."""
        self.command, arguments, environment, directory = await self._receive()
        self.arguments = [os.fsdecode(argument) for argument in arguments]
        self.environment = {
            os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()
        }
        self.directory = os.fsdecode(directory)

    async def send(self, *message: Any) -> None:
        """Send what the command is to do."""
        content = marshal.dumps(message)
        self._writer.write(len(content).to_bytes(4, "little") + content)
        await self._writer.drain()

    async def write(self, stream: int, text: str) -> None:
        """Have something printed at once."""
        await self.send("write", stream, os.fsencode(text))

    async def read(self, path: str) -> str:
        """A file's content or, for "", what the standard input has. Raises OSError."""
        await self.send("read", os.fsencode(path))
        content = await self._receive()
        if isinstance(content, int):
            raise OSError(content, os.strerror(content), path)
        return os.fsdecode(content)

    async def gone(self) -> None:
        """Wait until the other end has closed."""
        await self._reader.read()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def _receive(self) -> Any:
        size = int.from_bytes(await self._reader.readexactly(4), "little")
        return marshal.loads(await self._reader.readexactly(size))
