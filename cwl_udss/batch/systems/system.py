# SPDX-License-Identifier: Apache-2.0
"""What a batch system is to us: command lines to type, and what its answers mean.

All of it is pure, so that it can be tested by what real systems have answered; client.py types the
commands.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cwl_udss.errors import UdssError


class BatchError(UdssError):
    """A batch system refuses, does not answer, or answers with something that is no answer."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a job asks for."""

    cores: int
    memory: int | None
    """MiB; None leaves it to the site, as with `walltime`."""
    walltime: int | None
    """Seconds."""
    gpus: int = 0
    nodes: int = 1
    """Each with all of that."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a job goes, and what a site wants to be told besides."""

    queue: str | None = None
    """A partition, in Slurm's words."""
    account: str | None = None
    """Whom it is charged to."""
    project: str | None = None
    """PBS's own notion beside that."""
    chunk: str = ""
    """More resources for the chunk that PBS's `select` asks for, "scratch=10gb:cpu_type=rome"."""
    options: tuple[str, ...] = ()
    """More arguments of the command that submits."""
    uses_select: bool = True
    """Whether PBS is asked by `select`; some sites forbid it."""


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """A job to be submitted."""

    name: str
    script: Path
    log: Path
    """Where the batch system's own messages go, if it can write them to a file at once."""
    resources: Resources
    placement: Placement


class JobState(enum.Enum):
    """Where a job is on its way."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"


class Cause(enum.Enum):
    """Why a job ended, in the batch system's eyes."""

    EXITED = "exited"
    WALLTIME = "walltime"
    MEMORY = "memory"
    DELETED = "deleted"
    """By a person, or by us."""
    NODE_LOST = "node lost"
    NEVER_RAN = "never ran"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """What a batch system says of a job."""

    state: JobState
    cause: Cause | None = None
    """Set when the job has ended."""
    exit_code: int | None = None
    node: str = ""
    words: str = ""
    """The batch system's own, for the person."""
    memory_bytes: int | None = None
    """The most that the job has used."""
    is_hopeless: bool = False
    """It waits for what will never be."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command has said."""

    exit_code: int
    output: bytes
    error: str


class BatchSystem(Protocol):
    """PBS, or Slurm."""

    name: str
    """As people call it."""

    def submit_command(self, request: JobRequest) -> list[str]:
        """Return the command that submits a job."""

    def submitted(self, output: str) -> str:
        """Return the id of the job that it has submitted, "" if there is none in its output."""

    def query_command(self, jobs: Collection[str]) -> list[str]:
        """Return the command that tells of jobs, all at once."""

    def statuses(self, answer: Answer, jobs: Collection[str]) -> dict[str, JobStatus] | None:
        """Return what is said of these jobs; those that are unknown are not in it. None if the
        answer says nothing."""

    def delete_command(self, jobs: Collection[str]) -> list[str]:
        """Return the command that deletes jobs, all at once."""

    def find_command(self, name: str) -> list[str]:
        """Return the command that lists this user's jobs of a name."""

    def found(self, answer: Answer) -> list[str] | None:
        """Return the ids in its answer; None if that says nothing."""

    def is_transient(self, answer: Answer) -> bool:
        """Say whether a refusal may be over in a minute: too busy, not reachable."""

    def cause_in_log(self, log: str) -> Cause | None:
        """Return what the end of a job's log says about why it ended, where nothing else does."""


def words_of(answer: Answer) -> str:
    """What a command has said of its failure, in a line: of long usage texts only what is its own
    ("sbatch: error: …", "qsub: …")."""
    lines = [line.strip() for line in answer.error.splitlines() if line.strip()]
    own = [line for line in lines if re.match(r"\w+: ", line) and not line.startswith("usage:")]
    return "; ".join(own) or (lines[-1] if lines else f"exit code {answer.exit_code}")


def some_of(jobs: Sequence[str]) -> str:
    """Name jobs for people, but not thousands of them."""
    return " ".join(jobs[:10]) + (" …" if len(jobs) > 10 else "")


def clock(seconds: float) -> str:
    """Return a time as batch systems have it: HH:MM:SS."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


def by_number(statuses: Mapping[str, JobStatus], jobs: Collection[str]) -> dict[str, JobStatus]:
    """Return statuses by the ids as they were asked for: a server may call itself otherwise."""
    known = {job.partition(".")[0]: status for job, status in statuses.items()}
    return {job: known[number] for job in jobs if (number := job.partition(".")[0]) in known}
