# SPDX-License-Identifier: Apache-2.0
"""What becomes of a run's jobs, wherever they run: a record of each that has ended."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cwltool.job import JobBase
from cwltool.process import Process, shortname

from cwl_udss.engine.jobs.process import this_thread
from cwl_udss.engine.jobs.wishes import asked_by
from cwl_udss.errors import masked, one_line
from cwl_udss.images.store.image import StoredImage
from cwl_udss.report.record import Ran, Status, StepRecord, Times
from cwl_udss.sandbox import Ending, Result
from cwl_udss.steps.image import step_image


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in a workflow a tool is."""

    path: str
    is_scattered: bool
    """It may have many jobs."""


class RecordedJob:
    """A job in a sandbox, which knows how it has ended."""

    ran: Ran | None = None
    problem: str = ""
    """Why it has not run, or not to its end."""
    remembered_bytes: int = 0
    """See sandbox.Streams."""
    image_name: str = ""
    """None of these is there of a tool of this machine."""
    digest: str = ""
    image_bytes: int | None = None
    image_place: str = ""

    def note_image(self, image: StoredImage) -> None:
        """Keep which image it runs in."""
        self.digest = step_image(image).described
        self.image_bytes = image.size
        self.image_place = str(image.path)

    @contextlib.contextmanager
    def noting_problem(self) -> Iterator[None]:
        """Keep what is raised."""
        try:
            yield
        except Exception as error:
            self.problem = str(error)
            raise


def document_name(tool: Process) -> str:
    """Return what a tool's document is called; "" if it is written where it is used."""
    identifier = str(tool.tool["id"])
    return "" if identifier.startswith("_:") else shortname(identifier)


class Recorder:
    """Follows jobs, for any number of threads."""

    def __init__(self) -> None:
        self.sinks: list[Callable[[StepRecord], None]] = []
        """To be told of each job that has ended, one at a time."""
        self.remembered_bytes = 0
        """How much of what each says at its end is to be told."""
        self.secrets: Collection[str] = ()
        """To be in no record."""
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._indices: Counter[str] = Counter()
        self._pending: dict[int, tuple[JobBase, StepRecord]] = {}
        self._is_stopping = False
        self.places: Mapping[int, Place] = {}
        """Of tools, by id()."""

    def follow(self, tool: Process, job: JobBase) -> None:
        """Record what becomes of a job that is about to be run."""
        if not self.sinks:
            return
        place = self.places.get(id(tool)) or Place(path=job.name, is_scattered=False)
        self._indices[place.path] += 1
        record = StepRecord(
            number=next(self._numbers),
            step=place.path,
            index=self._indices[place.path] if place.is_scattered else None,
            job=job.name,
            tool=document_name(tool),
            status=Status.ABORTED,
            asked=asked_by(job),
            image="",
            digest="",
            command=tuple(map(str, job.command_line)),
            problem="",
            ran=Ran(times=Times(ready=time.time())),
        )
        self._pending[record.number] = (job, record)
        if isinstance(job, RecordedJob):
            job.remembered_bytes = self.remembered_bytes
        callback = job.output_callback

        def ended(outputs: Any, status: str) -> None:
            self._end(record.number, is_success=status == "success")
            if callback is not None:
                callback(outputs, status)

        job.output_callback = ended

    def stop(self) -> None:
        """Take it that what fails from now on does so as the run is ended."""
        self._is_stopping = True

    def close(self) -> None:
        """Record those that have not ended, and never will."""
        self.stop()
        for number in sorted(self._pending):
            self._end(number, is_success=False)

    def _end(self, number: int, *, is_success: bool) -> None:
        with self._lock:
            job, record = self._pending.pop(number)
            record = _completed(record, job, is_success=is_success, is_ended=self._is_stopping)
            if self.secrets:
                record = replace(
                    record,
                    problem=masked(record.problem, self.secrets),
                    ran=replace(record.ran, said=masked(record.ran.said, self.secrets)),
                )
            for sink in self.sinks:
                sink(record)


def ran_here(result: Result, started: float, directory: str) -> Ran:
    """Return how a job of this machine has ended, just now."""
    return Ran(
        exit_code=result.exit_code,
        ending=result.ending.value,
        node=socket.gethostname(),
        times=Times(started=started, ended=time.time()),
        usage=result.usage,
        directory=directory,
        said=result.said.decode(errors="replace"),
    )


def ran_from_cache(exit_code: int) -> Ran:
    """Return how a job has ended that has not run, as its result was there."""
    return Ran(exit_code=exit_code, ending=Ending.EXITED.value, is_cached=True)


def _completed(record: StepRecord, job: JobBase, *, is_success: bool, is_ended: bool) -> StepRecord:
    if isinstance(job, RecordedJob):
        record = replace(
            record,
            image=job.image_name,
            digest=job.digest,
            image_bytes=job.image_bytes,
            image_place=job.image_place,
            problem=one_line(job.problem),
        )
        ran = job.ran or Ran()
    else:  # it has run on this host, on this thread
        ran, this_thread.ran_on_host = this_thread.ran_on_host or Ran(), None
    if is_success:
        status = Status.CACHED if ran.is_cached else Status.COMPLETED
    else:
        is_aborted = ran.ending == Ending.KILLED.value or (is_ended and ran.exit_code is None)
        status = Status.ABORTED if is_aborted else Status.FAILED
    times = replace(ran.times, ready=record.ran.times.ready)
    if times.ended is None and status is Status.FAILED:
        times = replace(times, ended=time.time())
    said = ran.said if status is Status.FAILED else ""
    return replace(record, status=status, ran=replace(ran, times=times, said=said))
