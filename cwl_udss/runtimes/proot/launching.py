# SPDX-License-Identifier: Apache-2.0
"""Has launcher.py start steps: by one program for all of a run, so that each costs no more than a
fork(2); or by a program of its own, where the caller needs a subprocess.Popen."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cwl_udss.errors import SandboxError
from cwl_udss.machine.own_modules import module_command
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.proot.launcher import NEW_SESSION, SAME_SESSION
from cwl_udss.runtimes.proot.request import Request
from cwl_udss.runtimes.starting import starting
from cwl_udss.runtimes.status import Launched
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.runtimes.words import memory_file

_PROGRAM = module_command("cwl_udss.runtimes.proot.launcher")
_MOST_BYTES = 256


@dataclass(frozen=True, kw_only=True)
class Descriptors:
    """What a step is given: where it says what becomes of it, and its standard streams."""

    status: int
    stdin: int
    stdout: int
    stderr: int


class Launchers:
    """Starts steps, for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._program: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    @property
    def process_id(self) -> int | None:
        """Of the program that starts them; None if there is none yet."""
        return self._program.pid if self._program else None

    def start(
        self, request: Request, descriptors: Descriptors, *, has_new_session: bool
    ) -> Launched:
        """Start a step, which becomes a child of this process. Raises SandboxError."""
        kind = NEW_SESSION if has_new_session else SAME_SESSION
        streams = (descriptors.stdin, descriptors.stdout, descriptors.stderr)
        with self._lock, _as_file(request) as description:
            given = (description, descriptors.status, *streams)
            answer = self._ask(kind, given) or self._ask(kind, given)
        if not answer.isdigit():
            reason = answer.decode() or "what starts it is being killed"
            raise SandboxError(f"a step cannot be started: {reason}", "see `ulimit -a`")
        return Launched(int(answer))

    def process(self, request: Request, pipes: Pipes, held: contextlib.ExitStack) -> RuntimeProcess:
        """Start a step, by a program of its own if nothing copies its streams. What is `held` is
        taken over, and closed when all of it has ended. Raises SandboxError."""
        reading, writing = os.pipe()
        descriptors = Descriptors(
            status=writing, stdin=pipes.stdin, stdout=pipes.stdout, stderr=pipes.stderr
        )
        start = start_alone if pipes.relay is None else self.start
        try:
            with starting(sys.executable, [reading]) as deferral:
                process = start(request, descriptors, has_new_session=pipes.needs_own_session())
        finally:
            os.close(writing)
        return RuntimeProcess(
            process,
            pipes.relay,
            deferral,
            reading,
            has_namespaces=False,
            afterwards=held.pop_all(),
        )

    def close(self) -> None:
        """Start no more, and leave nothing."""
        with self._lock:
            self._close()

    def _ask(self, kind: bytes, descriptors: Sequence[int]) -> bytes:
        """The answer of the program, which is started if need be; b"" if it has been killed."""
        try:
            answer = self._asked(kind, descriptors)
        except OSError:
            answer = b""
        if not answer:
            self._close()
        return answer

    def _asked(self, kind: bytes, descriptors: Sequence[int]) -> bytes:
        if self._connection is None:
            self._connection, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with other:
                self._program = subprocess.Popen(
                    [*_PROGRAM, str(other.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(other.fileno(),),
                )
        socket.send_fds(self._connection, [kind], descriptors)
        return self._connection.recv(_MOST_BYTES)

    def _close(self) -> None:
        if self._connection is not None and self._program is not None:
            self._connection.close()
            self._program.wait()
            self._connection = self._program = None


def start_alone(
    request: Request, descriptors: Descriptors, *, has_new_session: bool
) -> subprocess.Popen[bytes]:
    """Start a step by a program of its own, with streams as subprocess.Popen takes them."""
    with _as_file(request) as description:
        return subprocess.Popen(
            [*_PROGRAM, str(description), str(descriptors.status)],
            stdin=descriptors.stdin,
            stdout=descriptors.stdout,
            stderr=descriptors.stderr,
            pass_fds=(description, descriptors.status),
            start_new_session=has_new_session,
        )


@contextlib.contextmanager
def _as_file(request: Request) -> Iterator[int]:
    descriptor = memory_file(request.to_json())
    try:
        yield descriptor
    finally:
        os.close(descriptor)
