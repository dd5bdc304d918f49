# SPDX-License-Identifier: Apache-2.0
"""The directory of a run whose steps are jobs: the one place that knows its paths.

    RUN/steps/NAME.KEY.NONCE/   a step: see steps/spec.py; job.json says which job is to run it
    RUN/ended/                  an empty file for each step that has ended, until it was seen
    RUN/drivers/                presences of those who drive it
    RUN/steps.jsonl             what it has done until now (see report/journal.py)
    RUN/moves.json              where the results are moved to, while they are (see moves.py)
    RUN/work/                   cwltool's directories, by a directory for each driver

It is on a filesystem that all nodes share. One directory is looked into for all ends, as each look
costs a network filesystem a round trip; and what is found there was written after all else.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.batch.moves import Moves
from cwl_udss.errors import StoreError
from cwl_udss.files import copies
from cwl_udss.filesystems.leases import (
    LEASE_SECONDS,
    list_presences,
    living,
    presence,
    presence_name,
)
from cwl_udss.machine.umask import own_umask
from cwl_udss.staging import publish_file, remove_tree
from cwl_udss.steps.beginning import begin
from cwl_udss.steps.spec import (
    JOB,
    LOG,
    SCRIPT,
    SPEC,
    STAGED,
    StepSpec,
    SubmittedJob,
    UnreadableStep,
    read_started,
    read_submitted,
    to_json,
)

_DRIVERS = "drivers"
_SIGN_SECONDS = 3 * LEASE_SECONDS  # clocks differ
_KEY_DIGITS = 16
_LONGEST_NAME = 60
_LAST_LINE_BYTES = 4096
# What a job finds its programs by: the batch system is not relied on to pass it on.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "CONDA_PREFIX")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A step's directory."""

    path: Path

    @property
    def name(self) -> str:
        """What it is called among the run's steps."""
        return self.path.name

    @property
    def spec(self) -> Path:
        """What is to be done."""
        return self.path / SPEC

    @property
    def log(self) -> Path:
        """What its job's script and the batch system have said."""
        return self.path / LOG

    @property
    def script(self) -> Path:
        """Its job's script."""
        return self.path / SCRIPT

    @property
    def staged(self) -> Path:
        """What its output directory begins with."""
        return self.path / STAGED


class RunDirectory:
    """A run's directory, for any number of threads and nodes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.steps = path / "steps"
        self.ended = path / "ended"
        self._drivers = path / _DRIVERS
        self._own = presence_name()
        self.work = path / "work" / self._own
        self.moves = Moves(path / "moves.json")
        self._earlier: dict[str, list[Entry]] = defaultdict(list)
        self._has_others = False

    @contextlib.contextmanager
    def driven(self, *, alone: bool, keeps_work: Callable[[], bool]) -> Iterator[None]:
        """Be the one who drives it; with others, unless `alone`. Raises StoreError."""
        try:
            for directory in (self.steps, self.ended, self.work):
                directory.mkdir(parents=True, exist_ok=True)
            self.moves.read()
            others = living(list_presences(self._drivers), patience=0)
        except OSError as error:
            raise StoreError(
                f"the run directory {self.path} cannot be written to: {error.strerror}",
                "name another with --udss-runs",
            ) from error
        if alone and others:
            raise StoreError(
                f"{self.path} is being run already, by {min(others).name.rpartition('.')[0]}",
                "wait for its end",
            )
        self._has_others = bool(others)
        for name in sorted(os.listdir(self.steps)):
            key = name.rpartition(".")[0].rpartition(".")[2]
            self._earlier[key].append(Entry(path=self.steps / name))
        with presence(self._drivers / self._own):
            yield
            if not keeps_work():
                self._remove_work()

    def _remove_work(self) -> None:
        """Remove what this driver has worked on, and dead ones have, unless it may be of use to
        jobs of theirs that somebody else waits for."""
        remove_tree(self.work)
        shown = list_presences(self._drivers)
        alive = living(shown, patience=0)
        if {path.name for path in alive} == {self._own}:
            for path in set(shown) - alive:
                remove_tree(self.work.with_name(path.name))
                path.unlink(missing_ok=True)

    def earlier(self, key: str) -> Entry | None:
        """Return a step with this key that an earlier driver has left, each one once."""
        entries = self._earlier.get(key[:_KEY_DIGITS])
        return entries.pop() if entries else None

    def add(self, name: str, key: str, spec: StepSpec, staged: Path) -> Entry:
        """Write down a step that is going to be run, and move there what its output directory
        begins with. Raises OSError."""
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_LONGEST_NAME]
        path = self.steps / f"{plain}.{key[:_KEY_DIGITS]}.{secrets.token_hex(4)}"
        # The environment may hold secrets.
        path.mkdir(mode=0o700)
        entry = Entry(path=path)
        entry.spec.write_bytes(to_json(spec))
        copies.move(str(staged), str(entry.staged))
        return entry

    def write_script(self, entries: Sequence[Entry], environment: Mapping[str, str]) -> None:
        """Write the script of the job that runs these steps, one after the other, to the first."""
        content = job_script(entries, environment, umask=own_umask())
        entries[0].script.write_text(content, encoding="utf-8", errors="surrogateescape")

    def record_job(self, entry: Entry, job: SubmittedJob) -> None:
        """Write down which job is to run a step. Raises OSError."""
        publish_file(entry.path / JOB, to_json(job), self.work)

    def job(self, entry: Entry) -> SubmittedJob | None:
        """Return which job is to run a step, None if that was never written down."""
        try:
            return read_submitted(entry.path / JOB)
        except UnreadableStep:
            return None

    def begun_by(self, entry: Entry) -> str:
        """Return which job has begun a step, "" if none has."""
        try:
            return read_started(entry.path).job
        except UnreadableStep:
            return ""

    def take(self, entry: Entry) -> str:
        """Have no job begin a step any more that an earlier driver has left; return which has, if
        one has. Of drivers that live that would be no good turn. Raises OSError."""
        if not self._has_others:
            begin(entry.path, {})
        return self.begun_by(entry)

    def ended_names(self) -> list[str]:
        """Return the names of the steps that have ended and were not seen yet. Opening a directory
        makes an NFS client ask the server (nfs(5))."""
        return os.listdir(self.ended)

    def mark_seen(self, name: str) -> None:
        """Note that a step's end was seen."""
        (self.ended / name).unlink(missing_ok=True)


def living_drivers(run: Path) -> list[str]:
    """Return who drives a run now, by machine and process; of other machines only those that have
    given a sign of life of late."""
    drivers = []
    with contextlib.suppress(OSError):
        for path in living(list_presences(run / _DRIVERS), patience=0):
            if time.time() - path.stat().st_mtime < _SIGN_SECONDS:
                drivers.append(path.name.rpartition(".")[0])
    return sorted(drivers)


def read_end(path: Path, most: int) -> str:
    """Return the end of a file, of `most` bytes; "" if it is not there."""
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - most))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return text if size <= most else f"[… {path}]\n{text}"


def last_line(log: Path) -> str:
    """Return the last line of a log that is not blank; "" if there is none."""
    return read_end(log, _LAST_LINE_BYTES).strip().rpartition("\n")[2]


def new_run_name() -> str:
    """Return a name for a run that no other has: when, where, and by which process."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}.{socket.gethostname()}.{os.getpid()}"


def job_script(entries: Sequence[Entry], environment: Mapping[str, str], umask: int) -> str:
    """Return the script of a job that runs steps."""
    directories = [str(entry.path) for entry in entries]
    return script(
        [sys.executable, "-m", "cwl_udss", "step", "--job", *directories],
        log=entries[0].log,
        environment=environment,
        umask=umask,
        remark=f"By hand: cwl-udss step {shlex.join(directories)}",
    )


def script(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    umask: int,
    remark: str,
) -> str:
    """Return a job's script, which runs a command where its log is."""
    return "\n".join(
        (
            "#!/bin/sh",
            *(f"# {line}" for line in remark.splitlines()),
            f"exec >>{shlex.quote(str(log))} 2>&1 || exit",
            f"umask {umask:04o}",
            *exports(environment),
            # Python looks for modules where it is.
            f"cd {shlex.quote(str(log.parent))} || exit",
            f"exec {shlex.join(command)}",
            "",
        )
    )


def exports(environment: Mapping[str, str]) -> list[str]:
    """Return the lines of a shell's script that pass on what programs are found by."""
    return [
        f"export {name}={shlex.quote(environment[name])}"
        for name in _PASSED_ON
        if environment.get(name)
    ]
