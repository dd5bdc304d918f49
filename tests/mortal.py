# SPDX-License-Identifier: Apache-2.0
"""Starts the commands by fork, and has them killed.

Nothing is spent on imports, so that most moments fall into the work. Run as a program it reads
requests, a line each, and answers each with a line when the command has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cwl_udss import cli
from cwl_udss.engine.startup.pure import prefer_python_modules

_PATIENCE = 10.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command has ended."""

    code: int
    """Of exit; negative, the signal that has ended it."""
    seconds: float
    said: str


class Mortals:
    """Runs commands in an environment and a directory."""

    def __init__(self, program: subprocess.Popen[str], directory: Path) -> None:
        self._program = program
        self._log = directory / "log"

    def run(self, *arguments: str | Path, moment: float | None = None, victim: str = "") -> Outcome:
        """Run a command; after `moment` seconds kill it, or one of the processes of its `victim`,
        "step" for what it has started."""
        self._log.write_text("")  # who dies early does not get to do it
        request = {"arguments": list(map(str, arguments)), "moment": moment, "victim": victim}
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        print(json.dumps({**request, "log": str(self._log)}), file=self._program.stdin, flush=True)
        answer = json.loads(self._program.stdout.readline())
        return Outcome(**answer, said=self._log.read_text())


@contextlib.contextmanager
def mortals(directory: Path, environment: Mapping[str, str]) -> Iterator[Mortals]:
    """Start the program that starts them. With its end all that it has started must have ended."""
    program = subprocess.Popen(
        [sys.executable, __file__],
        cwd=directory,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Mortals(program, directory)
    finally:
        program.communicate()


def remaining(word: str) -> list[str]:
    """Wait until no process has a word in its command line; return those that stay."""
    give_up = time.monotonic() + _PATIENCE
    while time.monotonic() < give_up:
        found = [
            " ".join(process.info["cmdline"])
            for process in psutil.process_iter(["cmdline"])
            if any(word in argument for argument in process.info["cmdline"] or ())
        ]
        if not found:
            return []
        time.sleep(0.05)
    return found


def _main() -> None:
    prefer_python_modules("cwltool")
    from cwltool.process import get_schema

    from cwl_udss.engine import driver

    get_schema("v1.2")
    commands = {"cwl-udss": cli.run, "cwltool": driver.run}
    for line in sys.stdin:
        request = json.loads(line)
        start = time.monotonic()
        process = os.fork()
        if process == 0:
            _be(commands[request["arguments"][0]], request)
        _kill(process, request)
        _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"code": code, "seconds": time.monotonic() - start}), flush=True)


def _be(command: Any, request: dict[str, Any]) -> None:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    code = 70
    try:
        code = command(request["arguments"][1:])
    finally:
        sys.stdout.flush()
        os._exit(code)


def _kill(process: int, request: dict[str, Any]) -> None:
    if request["moment"] is None:
        return
    time.sleep(request["moment"])
    if request["victim"] != "step":
        os.kill(process, signal.SIGKILL)
        return
    driver = psutil.Process(process)
    while driver.status() != psutil.STATUS_ZOMBIE:
        # The mounts are nobody's children. What is in a sandbox has a session of its own.
        victims = {*_of_session(process), *driver.children(recursive=True)} - {driver}
        if victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                random.choice(sorted(victims, key=lambda victim: victim.pid)).kill()
            return
        time.sleep(0.001)


def _of_session(leader: int) -> Iterator[psutil.Process]:
    for process in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(process) == leader:
                yield psutil.Process(process)


if __name__ == "__main__":
    _main()
