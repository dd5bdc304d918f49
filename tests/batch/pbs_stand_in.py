# SPDX-License-Identifier: Apache-2.0
"""A PBS cluster for tests: the commands and the behaviour of a real OpenPBS, with jobs that are
processes of whoever runs the tests."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pbs_client
from pbs_settings import QUEUES, PbsNode, PbsQueue, PbsSettings, PbsTimes

COMMANDS = ("qsub", "qstat", "qdel", "qselect", "pbsnodes")


@dataclass(frozen=True)
class Pbs:
    """A cluster that runs."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to find it, of the environment."""
        return {"PATH": f"{self.directory / 'bin'}:/usr/local/bin:/usr/bin:/bin"}

    def counts(self) -> Mapping[str, int]:
        """How often each command was called, and how many jobs were "started"."""
        return self._control("counts")

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """The server is down; jobs go on."""
        self._control("down")
        try:
            yield
        finally:
            self._control("up")

    def busy(self, calls: int) -> None:
        """The next calls are told that the server is too busy."""
        self._control("fault", "busy", str(calls), "0")

    def slow(self, calls: int, seconds: float) -> None:
        """The next calls are answered only after some seconds."""
        self._control("fault", "slow", str(calls), str(seconds))

    def break_json(self, calls: int) -> None:
        """The next calls of qstat print only the first part of what they should."""
        self._control("fault", "broken_json", str(calls), "0")

    def send_raw_bytes(self, calls: int) -> None:
        """The next calls of qstat print bytes that are not UTF-8."""
        self._control("fault", "raw_bytes", str(calls), "0")

    def set_history(self, *, kept: bool) -> None:
        """Whether finished jobs are still known."""
        self._control("history", "on" if kept else "off")

    def forget(self, job: str) -> None:
        """A job is unknown from now on; its processes are killed."""
        self._control("forget", job)

    def lose_node(self, name: str) -> None:
        """A node dies with all its processes."""
        self._control("lose_node", name)

    def revive_node(self, name: str) -> None:
        """A node is back."""
        self._control("revive_node", name)

    def fail_starts(self, status: int | None) -> None:
        """Jobs end with this exit status (-1, -2) before they begin; None, no longer."""
        self._control("start_failure", "" if status is None else str(status))

    def _control(self, *words: str) -> Mapping[str, int]:
        connection = pbs_client.connect(str(self.directory))
        pbs_client.send(connection, ("control", [word.encode() for word in words], {}, b""))
        (answer,) = pbs_client.receive(connection)
        connection.close()
        return answer or {}


@contextlib.contextmanager
def serve_pbs(
    directory: Path,
    *,
    nodes: Sequence[PbsNode] = (PbsNode(),),
    queues: Sequence[PbsQueue] = QUEUES,
    times: PbsTimes | None = None,
    time_scale: float = 1.0,
    dialect: str = "master",
    background_qsub: bool = True,
    reserved_ports: int = 512,
    history: bool = True,
    instant: Path | None = None,
) -> Iterator[Pbs]:
    """Run a cluster in a directory that is made for it; all its processes end with it."""
    directory.mkdir(parents=True, exist_ok=True)
    _install(directory / "bin")
    settings = PbsSettings(
        directory=directory.resolve(),
        nodes=tuple(nodes),
        queues=tuple(queues),
        times=(times or PbsTimes()).scaled(time_scale),
        dialect=dialect,
        background_qsub=background_qsub,
        reserved_ports=reserved_ports,
        history=history,
        instant=instant,
    )
    content = pickle.dumps(settings)
    with (directory / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("pbs_server.py"), str(len(content))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        server.stdin.write(content)
        server.stdin.flush()
        if server.stdout.readline() != b"ready\n":
            raise RuntimeError((directory / "server.log").read_text())
        yield Pbs(directory)
    finally:
        server.stdin.close()
        server.wait(30)
        server.stdout.close()


def _install(directory: Path) -> None:
    directory.mkdir()
    source = Path(pbs_client.__file__).read_text()
    for name in COMMANDS:
        program = directory / name
        program.write_text(f"#!{os.path.realpath(sys.executable)} -IS\n{source}")
        program.chmod(0o755)
