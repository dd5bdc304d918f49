# SPDX-License-Identifier: Apache-2.0
"""What takes steps to nodes: a job of the batch system for each, or a pilot (pilots/)."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from cwl_udss.batch.poller import JobEnd, Poller
from cwl_udss.batch.run_directory import Entry, RunDirectory
from cwl_udss.batch.submission import Submitter
from cwl_udss.batch.systems.client import Client
from cwl_udss.batch.systems.system import BatchError, Cause, Placement, Resources, some_of
from cwl_udss.machine.quantities import counted
from cwl_udss.steps.spec import UnreadableStep, read_result

_logger = logging.getLogger(__name__)

_END_SECONDS = 1.5
"""How long the end of deleted jobs is waited for."""


@dataclass(frozen=True, kw_only=True)
class StepRequest:
    """What a step asks for."""

    name: str
    """Of its job."""
    resources: Resources
    placement: Placement


class Waiting(Protocol):
    """A step that is on its way."""

    @property
    def job(self) -> str:
        """The id of the job that runs it, "" if it has none of its own."""

    def wait(self) -> JobEnd:
        """Wait for the end of what runs it."""


class Backend(Protocol):
    """Takes steps to nodes, for any number of threads."""

    outlives_driver: bool
    """Whether what runs goes on when its driver is no more."""

    @property
    def name(self) -> str:
        """What people call it."""

    def submit(self, entry: Entry, request: StepRequest) -> Waiting:
        """Have a step run. Raises BatchError if it is refused."""

    def running(self, entry: Entry, name: str) -> Waiting | None:
        """Return what an earlier driver has had run, if it may still run; `name` is what its job
        was called. If not, it never will. Raises BatchError if that cannot be found out."""

    def stop(self) -> None:
        """End all that runs, and let nothing more begin."""

    def remaining(self) -> list[str]:
        """Return what is not known to have ended, for people."""

    def describe(self) -> str:
        """Say how it stands with what has not ended, for people; "" if there is nothing."""

    def cause_in_log(self, log: str) -> Cause | None:
        """Return what the end of a job's log says about why it ended."""


class JobBackend:
    """A job for each step, or for each group of steps."""

    outlives_driver = True

    def __init__(
        self,
        client: Client,
        run: RunDirectory,
        poller: Poller,
        group_size: int,
        environment: Mapping[str, str],
    ) -> None:
        self._client = client
        self._run = run
        self._poller = poller
        self._stop = threading.Event()
        self._submitter = Submitter(
            client,
            run,
            group_size=group_size,
            environment=environment,
            is_stopped=self._stop.is_set,
        )

    @property
    def name(self) -> str:
        """The batch system's."""
        return self._client.system.name

    def submit(self, entry: Entry, request: StepRequest) -> Waiting:
        """Submit a step. Raises BatchError."""
        job = self._submitter.submit(entry, request.name, request.resources, request.placement)
        if self._stop.is_set():  # just now: whoever stops has not heard of this job
            self._client.delete([job])
            raise BatchError("the run was interrupted when this step was submitted")
        return self._poller.watch(entry, job)

    def running(self, entry: Entry, name: str) -> Waiting | None:
        """Watch the job that may still run a step; None if it has left a result, or there is no
        such job. Raises BatchError."""
        with contextlib.suppress(UnreadableStep):
            read_result(entry.path)
            return None
        job = self._run.begun_by(entry)
        submitted = self._run.job(entry)
        if submitted is not None:
            job = job or submitted.job
        if not job:  # its driver has died while it submitted the job, or just before
            found = self._client.find(submitted.name if submitted else name)
            # What submits it may outlive the driver, and come to the batch system later than we.
            job = found[0] if found else self._run.take(entry)
        return self._poller.watch(entry, job) if job else None

    def stop(self) -> None:
        """Delete all jobs, and wait a moment for their end: a batch system may need long for it,
        and goes on by itself."""
        self._stop.set()
        self._client.hurry()
        jobs = self._poller.jobs()
        if not jobs:
            return
        _logger.warning("deleting %s", counted(len(jobs), "job"))
        self._client.delete(jobs)
        left = self._poller.wait_for_all(_END_SECONDS)
        if left:
            number = counted(len(left), "job")
            _logger.warning("%s is still ending %s: %s", self.name, number, some_of(left))

    def remaining(self) -> list[str]:
        """Return the jobs that are not known to have ended."""
        return self._poller.jobs()

    def describe(self) -> str:
        """Say what is known of the jobs."""
        return self._poller.describe().removeprefix("for ") if self._poller.jobs() else ""

    def cause_in_log(self, log: str) -> Cause | None:
        """Return what the batch system knows to read there."""
        return self._client.system.cause_in_log(log)


@contextlib.contextmanager
def job_backend(
    client: Client, run: RunDirectory, group_size: int, environment: Mapping[str, str]
) -> Iterator[JobBackend]:
    """Have steps run as jobs, with one poller for all."""
    poller = Poller(client, run)
    poller.start()
    try:
        yield JobBackend(client, run, poller, group_size, environment)
    finally:
        poller.stop()
