# SPDX-License-Identifier: Apache-2.0
"""The way to the server: what it costs, and what goes wrong on it."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from dataclasses import dataclass

from pbs_calls import Call, Output
from pbs_format import header, to_json
from pbs_options import parse
from pbs_settings import SERVER, PbsSettings

_NO_PORTS = "pbs_iff: cannot connect to host\npbs_iff: all reserved ports in use\n"
_BUSY = "Pbs Server is currently too busy to service this request. Please retry this request."


@dataclass
class Fault:
    """Something that goes wrong with the next calls."""

    kind: str
    command: str
    """Whose calls; empty, any."""
    calls: int
    seconds: float


class Access:
    """What is between commands and the server."""

    def __init__(self, settings: PbsSettings) -> None:
        self.down = False
        self.faults: list[Fault] = []
        self._settings = settings
        self._times = settings.times
        self._ports: collections.deque[float] = collections.deque()
        """When the ports that are in use will be free."""
        self._last_qstat = 0
        self._background_until: float | None = None

    def fault(self, kind: str, call: Call) -> Fault | None:
        """The fault of a kind that a call is to have, if any."""
        for fault in self.faults:
            if fault.kind == kind and fault.command in ("", call.command):
                fault.calls -= 1
                if fault.calls == 0:
                    self.faults.remove(fault)
                return fault
        return None

    async def delay(self, call: Call) -> None:
        """Wait as a command does before it begins."""
        slow = self.fault("slow", call)
        if slow is not None:
            await asyncio.sleep(slow.seconds)
        if call.command == "qstat" and int(time.time()) == self._last_qstat:
            await asyncio.sleep(self._times.qstat_pause)

    def ended(self, call: Call) -> None:
        """Note when a command has ended."""
        if call.command == "qstat":
            self._last_qstat = int(time.time())

    def refusal(self, call: Call) -> Output | None:
        """What a command says that does not get through."""
        server = call.environment.get("PBS_SERVER", SERVER)
        if self.fault("drop", call) is not None:
            return self._unreachable(call, server, "Communication failure.", 15031)
        # No other server exists, but one's own host has other ports.
        if self.down or (server != SERVER and ":" in server):
            return self._unreachable(call, server, "Connection refused", 15010)
        if server != SERVER:
            return self._unreachable(call, server, "Unknown Host.", 15008)
        if self.fault("busy", call) is not None:
            return Output(error=f"{call.command}: {_BUSY}\n", code=15033 & 255)
        return None

    def _unreachable(self, call: Call, server: str, reason: str, number: int) -> Output:
        output = Output()
        text = f"{call.command}: cannot connect to server {server} (errno={number})"
        attempts = 1
        if call.command == "qdel":
            text = f"Couldn't connect to cluster: {server}"
        if call.command == "qstat":
            options, operands, _ = parse(call.command, call.arguments)
            number = -1
            attempts = 1 if ("E", "") in options else max(1, len(operands))
            if ("F", "json") in options:
                output.out = to_json(header(server), self._settings.dialect)
        for _ in range(attempts):
            output.fail(f"{reason}\n{text}", number)
        return output

    async def connect(self, call: Call) -> None:
        """Open an authenticated connection, which uses up one of few ports for a while."""
        now = time.monotonic()
        if call.command == "qsub" and self._background_until is not None:
            self._background_until = now + self._times.background_qsub
            return
        while self._ports and self._ports[0] <= now:
            self._ports.popleft()
        if len(self._ports) >= self._settings.reserved_ports:
            await call.write(2, _NO_PORTS)
            await asyncio.sleep(max(0.0, self._ports.popleft() - now))
        self._ports.append(time.monotonic() + self._times.reserved_port)
        await asyncio.sleep(self._times.connection)

    async def end(self, call: Call, output: Output) -> None:
        """Let a command end, or be the process that a first qsub leaves behind."""
        first = self._settings.background_qsub and self._background_until is None
        if not (output.stay and first):
            await call.send("end", output.code)
            return
        self._background_until = time.monotonic() + self._times.background_qsub
        try:
            await call.send("stay", output.code)
            # It ends when no other qsub has used its connection for a while.
            while (left := self._background_until - time.monotonic()) > 0:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(call.gone(), left)
                    break
        finally:
            self._background_until = None
