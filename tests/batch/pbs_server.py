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
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pbs_commands
import pbs_queues
from pbs_batch import Batch
from pbs_calls import Call, Output
from pbs_client import SOCKET
from pbs_format import header, to_json
from pbs_options import UsageError
from pbs_settings import PbsSettings

_PR_SET_CHILD_SUBREAPER = 36
_COMMANDS = {
    "qsub": pbs_commands.qsub,
    "qstat": pbs_commands.qstat,
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
        self.batch = Batch(settings)
        self.calls: collections.Counter[str] = collections.Counter()
        self.faults: dict[str, tuple[int, float]] = {}
        """Kinds of faults, with the calls that are left of each, and its seconds."""
        self._ports: collections.deque[float] = collections.deque()
        self._last_qstat = 0
        self._background: asyncio.Task[None] | None = None
        self._background_until = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one command."""
        connection = Connection(reader, writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await connection.begin()
            if connection.name == "control":
                await connection.send(self._control(*connection.arguments))
            else:
                self.calls[connection.name] += 1
                output = await self._answer(connection)
                await connection.write(1, output.out)
                await connection.write(2, output.error)
                if output.stay and self._needs_background():
                    await connection.send("stay")
                    await connection.send("end", output.code)
                    await self._keep(connection)
                else:
                    await connection.send("end", output.code)
        connection.close()

    async def _answer(self, connection: Connection) -> Output:
        name = connection.name
        slow = self._fault("slow")
        if slow is not None:
            await asyncio.sleep(slow)
        if name == "qstat" and int(time.time()) == self._last_qstat:
            await asyncio.sleep(self._settings.times.qstat_pause)
        try:
            output = await self._run(connection)
        except UsageError as error:
            output = Output(error=error.text, code=error.code)
        if name == "qstat":
            self._last_qstat = int(time.time())
            if self._fault("broken_json") is not None:
                output.out = output.out[: len(output.out) * 2 // 3]
            if self._fault("raw_bytes") is not None:
                output.out = output.out.replace('"Job_Name"', '"Job_Name_\udce9\udcff"')
        return output

    async def _run(self, connection: Connection) -> Output:
        server = connection.environment.get("PBS_SERVER", self._settings.server)
        if self.batch.paused:
            return _unreachable(connection, server, "Connection refused", 15010, self._settings)
        if server != self._settings.server:
            # No other server exists, but a port could be asked.
            reason = ("Connection refused", 15010) if ":" in server else ("Unknown Host.", 15008)
            return _unreachable(connection, server, *reason, self._settings)
        if self._fault("busy") is not None:
            return Output(error=f"{connection.name}: {_BUSY}\n", code=15033 & 255)
        return await _COMMANDS[connection.name](self.batch, self, connection)

    async def connect(self, call: Call) -> None:
        """Open an authenticated connection, which needs one of few ports for a while."""
        if call.name == "qsub" and self._background is not None:
            self._background_until = time.monotonic() + self._settings.times.background_qsub
            return
        while self._ports and self._ports[0] <= time.monotonic():
            self._ports.popleft()
        if len(self._ports) >= self._settings.reserved_ports:
            await call.write(2, _NO_PORTS)
            await asyncio.sleep(max(0.0, self._ports.popleft() - time.monotonic()))
        self._ports.append(time.monotonic() + self._settings.times.reserved_port)
        await asyncio.sleep(self._settings.times.connection)

    def _needs_background(self) -> bool:
        return self._settings.background_qsub and self._background is None

    async def _keep(self, connection: Connection) -> None:
        """Keep the process that a qsub has left behind until it has not been used for a while."""
        self._background = asyncio.current_task()
        self._background_until = time.monotonic() + self._settings.times.background_qsub
        while (left := self._background_until - time.monotonic()) > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(connection.gone(), left)
                break
        self._background = None

    def _fault(self, kind: str) -> float | None:
        """Whether this call is to fail in such a way, and for how long."""
        calls, seconds = self.faults.get(kind, (0, 0.0))
        if calls <= 0:
            return None
        self.faults[kind] = (calls - 1, seconds)
        return seconds

    def _control(self, action: str, *values: str) -> Any:
        """Do what a test wants."""
        batch = self.batch
        if action == "counts":
            return {**self.calls, "started": batch.started}
        if action == "fault":
            kind, calls, seconds = values
            self.faults[kind] = (int(calls), float(seconds))
        elif action == "down":
            batch.paused = True
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


def _unreachable(
    connection: Connection, server: str, reason: str, number: int, settings: PbsSettings
) -> Output:
    """What a command says when it finds no server."""
    name = connection.name
    error = f"{reason}\n{name}: cannot connect to server {server} (errno={number})\n"
    if name == "qdel":
        error = f"{reason}\nCouldn't connect to cluster: {server}\n"
    out = ""
    if name == "qstat" and "json" in connection.arguments:
        out = to_json(header(server), settings.dialect)
    return Output(out=out, error=error, code=255 if name == "qstat" else number & 255)


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
