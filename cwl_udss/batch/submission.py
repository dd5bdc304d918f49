# SPDX-License-Identifier: Apache-2.0
"""Hands steps over to the batch system: one job for each, or one for several of like size."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cwl_udss.batch.run_directory import Entry, RunDirectory
from cwl_udss.batch.systems.client import Client
from cwl_udss.batch.systems.system import BatchError, JobRequest, Placement, Resources
from cwl_udss.steps.spec import SubmittedJob

GATHER_SECONDS = 2.0
"""For how long a group that is not full waits for more steps."""


@dataclass(frozen=True, kw_only=True)
class _Like:
    """What steps must have in common to go into one job."""

    resources: Resources
    placement: Placement


@dataclass(kw_only=True)
class _Group:
    """Steps that are to go into one job."""

    name: str
    entries: list[Entry] = field(default_factory=list)
    deadline: float
    is_closed: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    job: str = ""
    error: BatchError | None = None


class Submitter:
    """Submits steps, for any number of threads; each waits until its own is submitted."""

    def __init__(
        self,
        client: Client,
        run: RunDirectory,
        *,
        group_size: int,
        environment: Mapping[str, str],
        is_stopped: Callable[[], bool],
    ) -> None:
        self._client = client
        self._run = run
        self._group_size = group_size
        self._environment = environment
        self._is_stopped = is_stopped
        self._lock = threading.Lock()
        self._groups: dict[_Like, _Group] = {}

    def submit(self, entry: Entry, name: str, resources: Resources, placement: Placement) -> str:
        """Submit a step; return the id of its job, which is called `name` if that is its own.

        Raises BatchError if it is refused.
        """
        like = _Like(resources=resources, placement=placement)
        if self._group_size == 1:
            return self._submit([entry], name, like)
        with self._lock:
            deadline = time.monotonic() + GATHER_SECONDS
            group = self._groups.setdefault(like, _Group(name=name, deadline=deadline))
            group.entries.append(entry)
            is_mine = len(group.entries) == self._group_size
            if is_mine:
                self._close(like, group)
        if not is_mine and not group.done.wait(max(0.0, group.deadline - time.monotonic())):
            with self._lock:
                is_mine = not group.is_closed
                if is_mine:
                    self._close(like, group)
        if is_mine:
            try:
                group.job = self._submit(group.entries, group.name, like)
            except BatchError as error:
                group.error = error
            finally:
                group.done.set()
        group.done.wait()
        if group.error is not None:
            raise group.error
        return group.job

    def _close(self, like: _Like, group: _Group) -> None:
        group.is_closed = True
        del self._groups[like]

    def _submit(self, entries: Sequence[Entry], name: str, like: _Like) -> str:
        first = entries[0]
        asked = like.resources
        if asked.walltime is not None:
            asked = replace(asked, walltime=asked.walltime * len(entries))
        try:
            self._run.write_script(entries, self._environment)
            # Whoever comes after our death finds a job by its name: the first step's.
            self._record("", entries[1:], name, 1)
            job = self._client.submit(
                JobRequest(
                    name=name,
                    script=first.script,
                    log=first.log,
                    resources=asked,
                    placement=like.placement,
                ),
                self._is_stopped,
            )
            self._record(job, entries, name, 0)
        except OSError as error:
            raise BatchError(
                f"the step's files cannot be written: {error.strerror}", f"look at {first.path}"
            ) from error
        return job

    def _record(self, job: str, entries: Sequence[Entry], name: str, first: int) -> None:
        system = self._client.system.name
        for position, entry in enumerate(entries, first):
            submitted = SubmittedJob(system=system, job=job, name=name, position=position)
            self._run.record_job(entry, submitted)
