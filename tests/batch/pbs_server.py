# SPDX-License-Identifier: Apache-2.0
"""The server's process: it answers commands, as slowly and as wrongly as it is told."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import os
import pickle
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pbs_commands
import pbs_qstat
import pbs_queues
from pbs_access import Access, Fault
from pbs_batch import Batch
from pbs_calls import Call, Output
from pbs_client import SOCKET
from pbs_options import UsageError
from pbs_settings import PbsSettings

_PR_SET_CHILD_SUBREAPER = 36
_COMMANDS = {
    "qsub": pbs_commands.qsub,
    "qstat": pbs_qstat.qstat,
    "qdel": pbs_commands.qdel,
    "qselect": pbs_commands.qselect,
    "pbsnodes": pbs_queues.pbsnodes,
}


class Server:
    """The queue, and the commands that ask it."""

    def __init__(self, settings: PbsSettings) -> None:
        self._batch = Batch(settings)
        self._access = Access(settings)
        self._counts: collections.Counter[str] = collections.Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one command."""
        call = Call(reader, writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await call.begin()
            if call.command == "control":
                await call.send(self._control(*call.arguments))
            else:
                self._counts[call.command] += 1
                await self._access.delay(call)
                output = await self._run(call)
                self._access.ended(call)
                await call.write(1, output.out)
                await call.write(2, output.error)
                await self._access.end(call, output)
        call.close()

    async def _run(self, call: Call) -> Output:
        refusal = self._access.refusal(call)
        if refusal is not None:
            return refusal
        try:
            output = await _COMMANDS[call.command](self._batch, self._access, call)
        except UsageError as error:
            return Output(error=error.text, code=error.code)
        if call.command == "qstat" and self._access.fault("broken_json", call) is not None:
            output.out = output.out[: len(output.out) * 2 // 3]
        if call.command == "qstat" and self._access.fault("raw_bytes", call) is not None:
            output.out = re.sub('("Submit_Host":\\s*")', "\\1\udce9\udcff", output.out)
        return output

    def _control(self, action: str, *values: str) -> Any:
        """Do what a test wants."""
        batch, access = self._batch, self._access
        if action == "counts":
            return {**self._counts, "started": batch.started}
        if action == "fault":
            kind, command, calls, seconds = values
            access.faults.append(Fault(kind, command, int(calls), float(seconds)))
        elif action == "down":
            access.down = batch.down = True
        elif action == "up":
            access.down = False
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
