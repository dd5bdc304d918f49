# SPDX-License-Identifier: Apache-2.0
"""A PBS cluster for tests: the commands and the behaviour of a real OpenPBS, with jobs that are
processes of whoever runs the tests.

What was seen of a real one (23.06.06, and the main branch in November 2026) is done to the letter,
late reports and broken output included; what is missing is refused as such.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pbs_client
from pbs_settings import QUEUES, PbsNode, PbsQueue, PbsSettings, PbsTimes

__all__ = ["QUEUES", "Pbs", "PbsNode", "PbsQueue", "PbsTimes", "serve_pbs"]
_COMMANDS = ("qsub", "qstat", "qdel", "qselect", "pbsnodes")
_PATIENCE = 30.0


@dataclass(frozen=True)
class Pbs:
    """A cluster that runs."""

    directory: Path

    @property
    def programs(self) -> Path:
        """Where qsub and the others are."""
        return self.directory / "bin"

    @property
    def environment(self) -> dict[str, str]:
        """An environment in which they are found."""
        return {"PATH": f"{self.programs}:/usr/local/bin:/usr/bin:/bin"}

    @property
    def home(self) -> Path:
        """The user's home directory on the nodes."""
        return self.directory / "home"

    def run(
        self, *command: str, script: str = "", directory: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the cluster's, in the home directory if no other is given."""
        return subprocess.run(
            command,
            input=script,
            cwd=directory or self.home,
            env={**self.environment, "HOME": str(self.home), **variables},
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=60,
            check=False,
        )

    def submit(self, *options: str, script: str = "true", **variables: str) -> str:
        """Submit a job; return its id."""
        said = self.run("qsub", *options, script=script, directory=None, **variables)
        if said.returncode or said.stderr:
            raise AssertionError(said.stderr)
        return said.stdout.strip()

    def show(self, *jobs: str) -> dict[str, dict[str, Any]]:
        """All attributes of jobs that are known, with their sub-jobs."""
        said = self.run("qstat", "-E", "-x", "-t", "-f", "-F", "json", *jobs)
        shown: dict[str, dict[str, Any]] = json.loads(said.stdout).get("Jobs", {})
        return shown

    def wait(self, job: str, state: str = "F") -> dict[str, Any]:
        """Wait until a job is in a state; return its attributes."""
        give_up = time.monotonic() + _PATIENCE
        while time.monotonic() < give_up:
            attributes = self.show(job)[job]
            if attributes["job_state"] == state:
                return attributes
        raise AssertionError(f"{job} is never {state}: {attributes}")

    def counts(self) -> Counter[str]:
        """How often each command was called, and how many jobs were "started"."""
        return Counter(self._control("counts"))

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """The server is down; jobs go on."""
        self._control("down")
        try:
            yield
        finally:
            self._control("up")

    def busy(self, calls: int, command: str = "") -> None:
        """The next calls, of one command or any, are told that the server is too busy."""
        self._fault("busy", command, calls)

    def drop(self, calls: int, command: str = "") -> None:
        """The next calls lose their connection, as while the server stops."""
        self._fault("drop", command, calls)

    def slow(self, calls: int, seconds: float, command: str = "") -> None:
        """The next calls are answered only after some seconds."""
        self._fault("slow", command, calls, seconds)

    def break_json(self, calls: int) -> None:
        """The next calls of qstat print only the first part of what they should."""
        self._fault("broken_json", "qstat", calls)

    def send_raw_bytes(self, calls: int) -> None:
        """The next calls of qstat print bytes that are not UTF-8."""
        self._fault("raw_bytes", "qstat", calls)

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

    def _fault(self, kind: str, command: str, calls: int, seconds: float = 0.0) -> None:
        self._control("fault", kind, command, str(calls), str(seconds))

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
    instant: Path | None = None,
) -> Iterator[Pbs]:
    """Run a cluster in a directory that is made for it; all its processes end with it."""
    _install(directory / "bin")
    (directory / "home").mkdir()
    settings = PbsSettings(
        directory=directory.resolve(),
        nodes=tuple(nodes),
        queues=tuple(queues),
        times=(times or PbsTimes()).scaled(time_scale),
        dialect=dialect,
        background_qsub=background_qsub,
        reserved_ports=reserved_ports,
        instant=instant,
    )
    content = pickle.dumps(settings)
    log = directory / "server.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("pbs_server.py"), str(len(content))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
        )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        server.stdin.write(content)
        server.stdin.flush()
        if server.stdout.readline():
            yield Pbs(directory)
    finally:
        server.stdin.close()
        server.stdout.close()
        server.wait(_PATIENCE)
    if server.returncode or log.read_text():
        raise RuntimeError(f"The stand-in for PBS has failed:\n{log.read_text()}")


def _install(directory: Path) -> None:
    directory.mkdir(parents=True)
    source = Path(pbs_client.__file__).read_text()
    for name in _COMMANDS:
        program = directory / name
        program.write_text(f"#!{os.path.realpath(sys.executable)} -IS\n{source}")
        program.chmod(0o755)
