# SPDX-License-Identifier: Apache-2.0
"""What a stand-in for a PBS cluster is made of; its times are those of a real OpenPBS."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

SERVER = "pbshead"
SUBMIT_HOST = "localhost"


@dataclass(frozen=True, kw_only=True)
class PbsNode:
    """An execution host."""

    name: str = "pbshead"
    ncpus: int = 8
    mem: str = "16gb"
    ngpus: int | None = None
    command: tuple[str, ...] = ()
    """What is put before a job's command line, so that it runs on a machine of its own."""


@dataclass(frozen=True, kw_only=True)
class PbsQueue:
    """A queue and whom it lets in."""

    name: str
    max_walltime: str | None = None
    default_walltime: str | None = None
    enabled: bool = True
    max_queued: int | None = None
    """Jobs, not counting finished ones."""
    projects: tuple[str, ...] | None = None
    """Whose jobs a hook of the site lets in; None, all."""
    members_only: bool = False
    """Whether it has an access control list, on which no user of the tests is."""


QUEUES = (
    PbsQueue(name="workq"),
    PbsQueue(name="short", max_walltime="00:10:00", default_walltime="00:05:00"),
    PbsQueue(name="full", max_queued=0),
    PbsQueue(name="disabled", enabled=False),
    PbsQueue(name="funded", projects=("funded",)),
    PbsQueue(name="members", members_only=True),
)


@dataclass(frozen=True, kw_only=True)
class PbsTimes:
    """Seconds, as measured on a real OpenPBS with its default settings."""

    schedule: float = 0.015
    """From the submission to the start, on an idle node."""
    connection: float = 0.005
    """What each authenticated connection costs."""
    end_report: float = 1.1
    """From a job's end to its report."""
    exiting: float = 0.05
    """In state E, while output is copied."""
    undeliverable: float = 32.0
    """In state E, when output can't be copied."""
    poll: float = 10.0
    """Between two looks at a running job."""
    kill_delay: float = 10.0
    """From SIGTERM to SIGKILL."""
    qstat_pause: float = 0.2
    """A qstat in the same second as the last one ended sleeps that long."""
    background_qsub: float = 60.0
    """That a process which qsub has left behind stays unused."""
    reserved_port: float = 60.0
    """That a port of a finished connection stays in use."""
    node_fail_requeue: float = 310.0
    """Until jobs of a node that is down are taken from it."""
    walltime_second: float = 1.0
    """How long a second of a job's own time is, for its limit and in reports."""

    def scaled(self, scale: float) -> PbsTimes:
        """The same, so many times as long; only a job's own seconds stay what they are."""
        times = {field.name: getattr(self, field.name) * scale for field in fields(self)}
        return replace(self, **{**times, "walltime_second": self.walltime_second})


@dataclass(frozen=True, kw_only=True)
class PbsSettings:
    """All that a server is started with."""

    directory: Path
    nodes: tuple[PbsNode, ...] = (PbsNode(),)
    queues: tuple[PbsQueue, ...] = QUEUES
    times: PbsTimes = PbsTimes()
    dialect: str = "master"
    """"master", or "release" for the commands of v23.06.06."""
    background_qsub: bool = True
    reserved_ports: int = 512
    instant: Path | None = None
    """A Python file whose function `run(script, variables)` takes the place of jobs' processes.

    It is called in the server, with the script's text and the job's environment, and returns the
    exit code."""

    @property
    def home(self) -> Path:
        """The user's home directory on the nodes, not that of whoever submits."""
        return self.directory / "home"
