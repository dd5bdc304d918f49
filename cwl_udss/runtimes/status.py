# SPDX-License-Identifier: Apache-2.0
"""What a runtime says of the sandbox that it makes."""

from __future__ import annotations

import io
import os
import re
import select
import socket
import struct

from cwl_udss.records import record
from cwl_udss.runtimes.accounting.counted import FACTS
from cwl_udss.runtimes.machine_code.ended import ended
from cwl_udss.sandbox import SIGNAL_OFFSET

# A number is whole if something comes after it.
_OWN = ("own-user-us", "own-system-us")
_NAMES = ("child-pid", "exit-code", "is-made", "tracer-pid", *_OWN, *FACTS)
_STATUS = re.compile(f'"({"|".join(_NAMES)})": (\\d+)(?=\\D)'.encode())

# What programs of machine_code/ say, who do not write numbers as digits.
HAS_BEGUN = b'"begun"\n'
HAS_ENDED = b'"ended": '
"""Then comes what wait4(2) has said of the command."""
NOT_EXECUTED = b'"not-executed"\n'
IS_MADE_FACT = "is-made"
IS_MADE = b'{"is-made": 1}\n'
"""Of a sandbox, by what is started in it first."""
HAS_FAILED = b'"failed": '
"""Then comes what make_calls() of processors.py leaves."""
FAILED = struct.Struct("=Qq")
_MICROSECONDS = 1e6
_CREDENTIALS = struct.Struct("=3i")  # struct ucred of unix(7)

OWN_GENERATIONS = 1
"""The first process of a sandbox only waits."""


class Launched:
    """A child of this process that another has started in its place."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None


@record(frozen=True, kw_only=True)
class Made:
    """How a sandbox is made where the first process that is told of does not do it all."""

    fact: str = "child-pid"
    """What is said when it is."""
    generations: int = OWN_GENERATIONS
    """How many processes, one started by the other, there are before the command."""
    tells_all: bool = False
    """Whether no end of the command, and no failure to execute it, is left for others to see."""
    has_session: bool = False
    """Whether the command has a session of its own, in which nobody types."""
    tidies_up: bool = False
    """Whether the runtime has something to do when all others have ended, and then ends itself: the
    others are to be killed, and not the runtime."""


class Words:
    """What a bwrap says of itself: JSON objects, in several writes (bwrap(1), --json-status-fd).
    The last may be incomplete if it was killed."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.have_ended = False
        """So has their bwrap; its child closes its end before it does anything."""
        self._said = b""

    @property
    def facts(self) -> dict[str, int]:
        """What was said so far."""
        facts = {name.decode(): int(value) for name, value in _STATUS.findall(self._said)}
        end = ended(self._said.partition(HAS_ENDED)[2])
        if end is not None:
            facts |= end.counted.facts()
            if not self.was_not_executed:
                facts["exit-code"] = end.code if end.code >= 0 else SIGNAL_OFFSET - end.code
        return facts

    @property
    def own_seconds(self) -> tuple[float, float]:
        """What making the sandbox took in the program and in the kernel, where that is said (by
        mount_trees.py)."""
        user, system = (self.facts.get(name, 0) / _MICROSECONDS for name in _OWN)
        return user, system

    @property
    def was_not_executed(self) -> bool:
        """Whether the command was tried, and could not be executed."""
        return NOT_EXECUTED in self._said

    @property
    def failed_call(self) -> tuple[int, int] | None:
        """Where the call is that has failed, if one has, and its error number."""
        told = self._said.partition(HAS_FAILED)[2]
        if len(told) != FAILED.size:
            return None
        place, result = FAILED.unpack(told)
        return place, -result

    def read(self) -> None:
        """Add what can be read now."""
        part = self._read()
        self._said += part
        self.have_ended = not part

    def _read(self) -> bytes:
        return os.read(self.descriptor, io.DEFAULT_BUFFER_SIZE)

    def read_until(self, name: str | None, seconds: float) -> None:
        """Read until a fact was said, or to the end; not for ever, as a bwrap that was killed
        before it had told its child to go on has left one that waits and may have the other end."""
        while not self.have_ended and name not in self.facts:
            if not is_readable(self.descriptor, seconds):
                return
            self.read()


class SocketWords(Words):
    """What the first process of a sandbox says at a socket of our own (see channel()), by which the
    kernel says who that is."""

    def _read(self) -> bytes:
        connection = socket.socket(fileno=self.descriptor)
        try:
            room = socket.CMSG_SPACE(_CREDENTIALS.size)
            part, ancillary, _, _ = connection.recvmsg(io.DEFAULT_BUFFER_SIZE, room)
        finally:
            connection.detach()
        # unix(7): SCM_CREDENTIALS, in which the number is what it is in our PID namespace.
        senders = [_CREDENTIALS.unpack(data)[0] for _, _, data in ancillary]
        if senders and part and "child-pid" not in self.facts:
            return b'{"child-pid": %d}\n' % senders[0] + part
        return part


def channel() -> tuple[SocketWords, socket.socket]:
    """Return our end and the first process's of a socket. Ours stays open whoever forgets it, as
    the sandbox ends with it."""
    ours, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return SocketWords(ours.detach()), other


def is_readable(descriptor: int, seconds: float) -> bool:
    """Wait until there is something to be read, or its end; say whether that came in time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
