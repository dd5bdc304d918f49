# SPDX-License-Identifier: Apache-2.0
"""Steps inside allocations that stay: Parsl gives them to workers there.

For thousands of steps of seconds, each of which would wait longer in a batch system's queue than it
runs. Needs `pip install cwl-udss[parsl]`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from concurrent import futures
from concurrent.futures import Future

from cwl_udss.batch.backend import StepRequest, Waiting
from cwl_udss.batch.pilots.allocations import make_allocations
from cwl_udss.batch.pilots.capacity import Capacity
from cwl_udss.batch.pilots.fleet import Fleet
from cwl_udss.batch.pilots.pool import Pool
from cwl_udss.batch.poller import JobEnd
from cwl_udss.batch.run_directory import Entry, RunDirectory, new_run_name
from cwl_udss.batch.systems.client import Client
from cwl_udss.batch.systems.system import BatchError, Cause, JobState, JobStatus
from cwl_udss.settings.settings import Settings
from cwl_udss.steps.spec import UnreadableStep, read_result


class PilotStep:
    """A step that was given to Parsl."""

    def __init__(self, entry: Entry, done: Future[None], pool: Pool, fleet: Fleet) -> None:
        self._entry = entry
        self._done = done
        self._pool = pool
        self._fleet = fleet

    @property
    def job(self) -> str:
        """Nothing: it is none of a batch system's."""
        return ""

    def wait(self) -> JobEnd:
        """Wait until its worker has ended it, or is no more. Raises BatchError if there is none,
        and will be none."""
        futures.wait((self._done, self._fleet.ended), return_when=futures.FIRST_COMPLETED)
        if self._fleet.failure is not None:
            raise self._fleet.failure
        if not self._done.done():
            return _no_result(Cause.DELETED, "the run was interrupted")
        failure = self._done.exception()
        try:
            return JobEnd(result=read_result(self._entry.path), status=None)
        except UnreadableStep:
            self._pool.check()
            words = f"{type(failure).__name__}: {failure}" if failure else ""
            return _no_result(Cause.NODE_LOST, words)


def _no_result(cause: Cause, words: str) -> JobEnd:
    status = JobStatus(state=JobState.ENDED, cause=cause, words=words)
    return JobEnd(result=None, status=status)


class PilotBackend:
    """Gives steps to the workers of a Parsl executor."""

    name = "the pilot"
    outlives_driver = False
    """Workers end when they do not hear of it for half a minute."""

    def __init__(self, pool: Pool, fleet: Fleet, capacity: Capacity) -> None:
        self._pool = pool
        self._fleet = fleet
        self._capacity = capacity
        self._lock = threading.Lock()
        self._steps: dict[str, Future[None]] = {}

    def submit(self, entry: Entry, request: StepRequest) -> Waiting:
        """Have a step run. Raises BatchError for one that asks for more than a worker has."""
        self._capacity.check(request.resources)
        if self._fleet.failure is not None:
            raise self._fleet.failure
        with self._lock:  # Parsl counts its tasks without one
            done = self._pool.submit(entry)
            self._steps[entry.name] = done
        done.add_done_callback(lambda future: self._forget(entry))
        self._fleet.wake()
        return PilotStep(entry, done, self._pool, self._fleet)

    def running(self, entry: Entry, name: str) -> Waiting | None:
        """Nothing: the workers have ended with their driver."""
        return None

    def stop(self) -> None:
        """Let nobody wait any more; what runs ends with the allocations (see pilot_backend)."""
        self._fleet.stop()

    def remaining(self) -> list[str]:
        """Return the steps that have not ended."""
        return sorted(self._steps)

    def describe(self) -> str:
        """Say how it stands with the allocations."""
        return self._fleet.describe().removeprefix("for ") if self._steps else ""

    def cause_in_log(self, log: str) -> Cause | None:
        """Nothing: a step of a pilot has no log of its own."""
        return None

    def _forget(self, entry: Entry) -> None:
        self._steps.pop(entry.name, None)
        self._fleet.note_end()


@contextlib.contextmanager
def pilot_backend(
    run: RunDirectory,
    settings: Settings,
    capacity: Capacity,
    client: Client | None,
    environment: Mapping[str, str],
) -> Iterator[PilotBackend]:
    """Have steps run by workers in allocations, for which there is a `client` with PBS and Slurm.
    Raises BatchError if Parsl does not start."""
    directory = run.path / "pilot" / new_run_name()
    directory.mkdir(parents=True)
    allocations = make_allocations(settings, capacity.cores, client, environment)
    pool = Pool(directory, capacity)
    fleet = Fleet(
        directory,
        allocations,
        pool,
        capacity,
        name_prefix=settings.batch_name,
        environment=environment,
    )
    with contextlib.ExitStack() as stack:
        stack.callback(pool.end)
        pool.start()
        stack.callback(fleet.end)
        fleet.start()
        yield PilotBackend(pool, fleet, capacity)


def check_parsl() -> None:
    """Raise BatchError if Parsl is not installed."""
    try:
        import parsl  # noqa: F401, PLC0415 - slow to import
    except ImportError as error:
        raise BatchError("Parsl is not installed", "pip install 'cwl-udss[parsl]'") from error
