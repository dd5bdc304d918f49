# SPDX-License-Identifier: Apache-2.0
"""Where a pilot's workers run: jobs of a batch system, or processes of this machine.

Parsl has providers for that. They write paths into shell commands unquoted, ask Slurm once in a
minute, and do not say what it answers; so only LSF is left to them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from cwl_udss.batch.systems.client import Client
from cwl_udss.batch.systems.system import (
    BatchError,
    Cause,
    JobRequest,
    JobState,
    JobStatus,
    Placement,
    Resources,
    clock,
)
from cwl_udss.batch.wishes import Said, make_wish
from cwl_udss.settings.settings import Settings

_DEFAULT_WALLTIME = 3600
_END_SECONDS = 1.0
_PLAIN_PATH = re.compile(r"[\w./+@=:,-]+", re.ASCII)


class Allocations(Protocol):
    """Gets allocations, and ends them."""

    @property
    def name(self) -> str:
        """Whose they are, as people call it."""

    def launcher(self, nodes: int) -> list[str]:
        """Return the words before a command that is to run on each of an allocation's nodes."""

    def begin(self, name: str, script: Path, log: Path) -> str:
        """Ask for an allocation that runs a script; return its id. Raises BatchError."""

    def statuses(self, jobs: Collection[str]) -> dict[str, JobStatus] | None:
        """Return what is known of allocations; None if nothing is said."""

    def end(self, jobs: Collection[str]) -> None:
        """End allocations, soon."""

    def hurry(self) -> None:
        """Wait for no answer for long any more: the run ends."""


class LocalAllocations:
    """This machine, or the allocation that this process is in."""

    name = "this machine"

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def launcher(self, nodes: int) -> list[str]:
        """Nothing."""
        return []

    def begin(self, name: str, script: Path, log: Path) -> str:
        """Start the script, as the leader of a session."""
        try:
            process = subprocess.Popen(
                ["/bin/sh", str(script)], stdin=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise BatchError("/bin/sh cannot be run", str(error)) from error
        self._processes[str(process.pid)] = process
        return str(process.pid)

    def statuses(self, jobs: Collection[str]) -> dict[str, JobStatus]:
        """Return which still run."""
        return {job: _process_status(self._processes[job].poll()) for job in jobs}

    def end(self, jobs: Collection[str]) -> None:
        """Kill all processes of the sessions."""
        running = [self._processes[job] for job in jobs]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            give_up = time.monotonic() + _END_SECONDS
            for process in running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, give_up - time.monotonic()))

    def hurry(self) -> None:
        """Nothing is waited for."""


def _process_status(code: int | None) -> JobStatus:
    if code is None:
        return JobStatus(state=JobState.RUNNING)
    words = f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
    return JobStatus(state=JobState.ENDED, cause=Cause.EXITED, exit_code=code, words=words)


class BatchAllocations:
    """Jobs of PBS or Slurm."""

    def __init__(self, client: Client, resources: Resources, placement: Placement) -> None:
        self._client = client
        self._resources = resources
        self._placement = placement
        self._is_ending = False

    @property
    def name(self) -> str:
        """The batch system's."""
        return self._client.system.name

    def launcher(self, nodes: int) -> list[str]:
        """Return srun, or mpiexec, for several nodes."""
        if nodes == 1:
            return []
        if self._client.system.name == "Slurm":
            # srun does not take over what sbatch was asked for (--cpus-per-task in srun(1)).
            return ["srun", f"--ntasks={nodes}", f"--cpus-per-task={self._resources.cores}"]
        mpiexec = f'exec mpiexec --bind-to none -n {nodes} --hostfile "$PBS_NODEFILE" "$@"'
        return ["sh", "-c", mpiexec, "sh"]

    def begin(self, name: str, script: Path, log: Path) -> str:
        """Submit a job."""
        request = JobRequest(
            name=name,
            script=script,
            log=log,
            resources=self._resources,
            placement=self._placement,
        )
        return self._client.submit(request, lambda: self._is_ending)

    def statuses(self, jobs: Collection[str]) -> dict[str, JobStatus] | None:
        """Ask the batch system."""
        return self._client.statuses(jobs)

    def end(self, jobs: Collection[str]) -> None:
        """Delete jobs."""
        self._client.delete(jobs)

    def hurry(self) -> None:
        """Have the client hurry, too."""
        self._is_ending = True
        self._client.hurry()


class LsfAllocations:
    """Jobs of LSF, by Parsl's provider."""

    name = "LSF"

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    def launcher(self, nodes: int) -> list[str]:
        """Nothing: Parsl knows how."""
        return []

    def begin(self, name: str, script: Path, log: Path) -> str:
        """Have Parsl submit a job."""
        if not _PLAIN_PATH.fullmatch(str(script)):
            raise BatchError(
                f"the path {log.parent} has characters in it that cannot be given to LSF",
                "name a directory with a plain path with --udss-runs",
            )
        self._provider.script_dir = str(log.parent)
        try:
            return str(self._provider.submit(f"sh {script}", 1, name))
        except Exception as error:
            # Parsl has no common class for what a provider raises.
            raise BatchError(f"LSF refuses the job: {error}", f"see {log.parent}") from error

    def statuses(self, jobs: Collection[str]) -> dict[str, JobStatus] | None:
        """Ask Parsl."""
        return {
            job: _parsl_status(status)
            for job, status in zip(jobs, self._provider.status(list(jobs)), strict=True)
        }

    def end(self, jobs: Collection[str]) -> None:
        """Have Parsl cancel the jobs."""
        self._provider.cancel(list(jobs))

    def hurry(self) -> None:
        """Parsl gives its commands 30 seconds."""


def _parsl_status(status: Any) -> JobStatus:
    if status.terminal:
        return JobStatus(state=JobState.ENDED, cause=Cause.EXITED, words=str(status))
    is_running = status.status_name == "RUNNING"
    state = JobState.RUNNING if is_running else JobState.WAITING
    return JobStatus(state=state, words="" if is_running else str(status))


def make_allocations(
    settings: Settings, cores: int, client: Client | None, environment: Mapping[str, str]
) -> Allocations:
    """Return what gets the allocations of the settings, with so many cores on each node. There is
    a `client` for PBS and Slurm. Raises ImportError if Parsl is not there."""
    walltime = settings.batch_walltime or _DEFAULT_WALLTIME
    if settings.batch == "local":
        return LocalAllocations()
    if client is None:
        from parsl import providers  # noqa: PLC0415 - slow to import

        make: Any = providers.LSFProvider
        return LsfAllocations(make(**lsf_options(settings, cores, walltime)))
    whole = replace(settings, batch_cores=cores, batch_walltime=walltime)
    wish = make_wish(Said(cores=None, memory=None, time_limit=None), {}, whole)
    resources = replace(wish.resources, nodes=settings.pilot_nodes)
    return BatchAllocations(client, resources, wish.placement)


def lsf_options(settings: Settings, cores: int, walltime: int) -> dict[str, Any]:
    """Return the options of Parsl's LSFProvider."""
    words = shlex.join(settings.batch_options)
    return {
        "nodes_per_block": settings.pilot_nodes,
        "cores_per_node": cores,
        "queue": settings.batch_queue,
        "project": settings.batch_project,
        "walltime": clock(walltime),
        "scheduler_options": f"#BSUB {words}" if words else "",
    }
