# SPDX-License-Identifier: Apache-2.0
"""The server's process: it answers commands, as slowly and as wrongly as it is told."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import marshal
import os
import pickle
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pbs_commands
import pbs_qstat
import pbs_queues
from pbs_batch import Batch
from pbs_calls import Call, Output
from pbs_client import SOCKET
from pbs_format import header, to_json
from pbs_options import UsageError, parse
from pbs_settings import PbsSettings

_PR_SET_CHILD_SUBREAPER = 36
_COMMANDS = {
    "qsub": pbs_commands.qsub,
    "qstat": pbs_qstat.qstat,
    "qdel": pbs_commands.qdel,
    "qselect": pbs_commands.qselect,
    "pbsnodes": pbs_queues.pbsnodes,
}
_NO_PORTS = "pbs_iff: cannot connect to host\npbs_iff: all reserved ports in use\n"
_BUSY = "Pbs Server is currently too busy to service this request. Please retry this request."


class Connection:
    """A run of a command, at the other end of a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.name = ""
        self.arguments: list[str] = []
        self.environment: dict[str, str] = {}
        self.directory = ""

    async def receive(self) -> Any:
        """Receive a message, as pbs_client sends it. Raises EOFError."""
        size = int.from_bytes(await self._reader.readexactly(4), "little")
        return marshal.loads(await self._reader.readexactly(size))

    async def send(self, *message: Any) -> None:
        """Send what the command is to do."""
        content = marshal.dumps(message)
        self._writer.write(len(content).to_bytes(4, "little") + content)
        await self._writer.drain()

    async def begin(self) -> None:
        """Receive the command line."""
        self.name, arguments, environment, directory = await self.receive()
        self.arguments = [os.fsdecode(argument) for argument in arguments]
        self.environment = {
            os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()
        }
        self.directory = os.fsdecode(directory)

    async def write(self, stream: int, text: str) -> None:
        """Print something at once."""
        await self.send("write", stream, os.fsencode(text))

    async def read(self, path: str) -> str:
        """A file's content or, for "", what the standard input has. Raises OSError."""
        await self.send("read", os.fsencode(path))
        content = await self.receive()
        if isinstance(content, int):
            raise OSError(content, os.strerror(content), path)
        return os.fsdecode(content)

    async def gone(self) -> None:
        """Wait until the other end has closed."""
        await self._reader.read()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


class Server:
    """The queue, the commands that ask it, and the faults that a test has switched on."""

    def __init__(self, settings: PbsSettings) -> None:
        self._settings = settings
        self._batch = Batch(settings)
        self._calls: collections.Counter[str] = collections.Counter()
        self._faults: list[Fault] = []
        self._ports: collections.deque[float] = collections.deque()
        self._last_qstat = 0
        self._background_until: float | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one command."""
        connection = Connection(reader, writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await connection.begin()
            if connection.name == "control":
                await connection.send(self._control(*connection.arguments))
            else:
                self._calls[connection.name] += 1
                await self._answer(connection)
        connection.close()

    async def _answer(self, connection: Connection) -> None:
        if (slow := self._fault("slow", connection)) is not None:
            await asyncio.sleep(slow.seconds)
        if connection.name == "qstat" and int(time.time()) == self._last_qstat:
            await asyncio.sleep(self._settings.times.qstat_pause)
        try:
            output = await self._run(connection)
        except UsageError as error:
            output = Output(error=error.text, code=error.code)
        if connection.name == "qstat":
            self._last_qstat = int(time.time())
            if self._fault("broken_json", connection) is not None:
                output.out = output.out[: len(output.out) * 2 // 3]
            if self._fault("raw_bytes", connection) is not None:
                output.out = re.sub('("Submit_Host":\\s*")', "\\1\udce9\udcff", output.out)
        await connection.write(1, output.out)
        await connection.write(2, output.error)
        stays = output.stay and self._settings.background_qsub and self._background_until is None
        await connection.send("stay" if stays else "end", output.code)
        if stays:
            await self._keep(connection)

    async def _run(self, connection: Connection) -> Output:
        server = connection.environment.get("PBS_SERVER", self._settings.server)
        if self._fault("drop", connection) is not None:
            return self._unreachable(connection, server, "Communication failure.", 15031)
        # No other server exists, but another port could be asked.
        if self._batch.down or (server != self._settings.server and ":" in server):
            return self._unreachable(connection, server, "Connection refused", 15010)
        if server != self._settings.server:
            return self._unreachable(connection, server, "Unknown Host.", 15008)
        if self._fault("busy", connection) is not None:
            return Output(error=f"{connection.name}: {_BUSY}\n", code=15033 & 255)
        return await _COMMANDS[connection.name](self._batch, self, connection)

    def _unreachable(self, connection: Connection, server: str, reason: str, number: int) -> Output:
        """What a command says when it finds no server."""
        name, arguments = connection.name, connection.arguments
        text = f"{name}: cannot connect to server {server} (errno={number})"
        output = Output()
        if name == "qdel":
            text = f"Couldn't connect to cluster: {server}"
        attempts = 1
        if name == "qstat":
            options, operands, _ = parse(name, arguments)
            attempts = 1 if ("E", "") in options else max(1, len(operands))
            if ("F", "json") in options:
                output.out = to_json(header(server), self._settings.dialect)
        for _ in range(attempts):
            output.fail(f"{reason}\n{text}", -1 if name == "qstat" else number)
        return output

    async def connect(self, call: Call) -> None:
        """Open an authenticated connection, which uses up one of few ports for a while."""
        now = time.monotonic()
        times = self._settings.times
        if call.name == "qsub" and self._background_until is not None:
            self._background_until = now + times.background_qsub
            return
        while self._ports and self._ports[0] <= now:
            self._ports.popleft()
        if len(self._ports) >= self._settings.reserved_ports:
            await call.write(2, _NO_PORTS)
            await asyncio.sleep(max(0.0, self._ports.popleft() - now))
        self._ports.append(time.monotonic() + times.reserved_port)
        await asyncio.sleep(times.connection)

    async def _keep(self, connection: Connection) -> None:
        """Keep the process that a qsub has left behind until it has not been used for a while."""
        self._background_until = time.monotonic() + self._settings.times.background_qsub
        while (left := self._background_until - time.monotonic()) > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(connection.gone(), left)
                break
        self._background_until = None

    def _fault(self, kind: str, connection: Connection) -> Fault | None:
        """The fault of a kind that this call is to have, if any."""
        for fault in self._faults:
            if (fault.kind, fault.command) in ((kind, connection.name), (kind, "")):
                fault.calls -= 1
                if fault.calls == 0:
                    self._faults.remove(fault)
                return fault
        return None

    def _control(self, action: str, *values: str) -> Any:
        """Do what a test wants."""
        batch = self._batch
        if action == "counts":
            return {**self._calls, "started": batch.started}
        if action == "fault":
            kind, command, calls, seconds = values
            self._faults.append(Fault(kind, command, int(calls), float(seconds)))
        elif action == "down":
            batch.down = True
        elif action == "up":
            batch.resume()
        elif action == "history":
            batch.history = values[0] == "on"
        elif action == "forget":
            for job in batch.find(values[0]):
                batch.forget(job)
        elif action == "lose_node":
            batch.lose_node(*values)
        elif action == "revive_node":
            batch.revive_node(*values)
        elif action == "start_failure":
            batch.start_failure = int(values[0]) if values[0] else None
        return None


@dataclass
class Fault:
    """Something that goes wrong with the next calls."""

    kind: str
    command: str
    """Empty, any."""
    calls: int
    seconds: float


def _end_all() -> None:
    """Kill all that has ever been started here, also what has left its session."""
    for _ in range(10):
        children = _descendants(os.getpid())
        for process in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, 0 if children else os.WNOHANG)[0]:
                pass
        if not children:
            return


def _descendants(process: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found


async def _main() -> None:
    settings: PbsSettings = pickle.loads(sys.stdin.buffer.read(int(sys.argv[1])))
    os.umask(0o022)
    os.chdir(settings.directory)
    # What daemons a job leaves behind come to this process, which can so end them too.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    server = Server(settings)
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    # The standard input ends when the test's process does.
    loop.add_reader(0, over.set)
    listener = await asyncio.start_unix_server(server.serve, SOCKET, backlog=1000)
    print("ready", flush=True)
    await over.wait()
    listener.close()


if __name__ == "__main__":
    try:
        asyncio.run(_main())
    finally:
        _end_all()
