# SPDX-License-Identifier: Apache-2.0
"""The server's queue: what becomes of a job from its submission to its history."""

from __future__ import annotations

import asyncio
import itertools
import re
import runpy
import time
from collections.abc import Callable, Iterator

from pbs_admission import admit
from pbs_jobs import ACTIVE, Job, Usage, variables_of
from pbs_mom import Mom
from pbs_output import deliver
from pbs_qsub import Submission
from pbs_resources import NodeState, Placement, RefusedError, Request, place, why_not
from pbs_settings import SERVER, PbsSettings

_DEPENDENCIES = ("after", "afterok", "afternotok", "afterany")


class Batch:
    """All jobs, where they wait and where they run."""

    def __init__(self, settings: PbsSettings) -> None:
        self.settings = settings
        self.nodes = [NodeState(node) for node in settings.nodes]
        self.jobs: dict[str, Job] = {}
        self.history = True
        self.down = False
        """Whether the server is down: nothing starts, and no end is heard of."""
        self.started = 0
        self.start_failure: int | None = None
        """The exit status with which jobs end before they begin."""
        self._numbers = itertools.count()
        self._waiting: dict[Request, dict[str, Job]] = {}
        self._dependants: dict[str, list[Job]] = {}
        self._unheard: list[tuple[Job, int]] = []
        self._cycle: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._mom = Mom(settings, self._ended)
        self._instant: Callable[[str, dict[str, str]], int] | None = None
        if settings.instant is not None:
            self._instant = runpy.run_path(str(settings.instant))["run"]

    # Jobs by their ids

    def full_name(self, name: str) -> str:
        """A job id with the server's name, but not where that server can be found."""
        name = name.partition("@")[0]
        return name if "." in name else f"{name}.{SERVER}"

    def find(self, name: str) -> list[Job]:
        """The jobs that an id names: one, or a range of an array's sub-jobs; none, unknown."""
        match = re.fullmatch(r"(\d+)(\[([\d,-]*)\])?\.(.+)", self.full_name(name))
        if match is None:
            return []
        whole = self.jobs.get(f"{match[1]}{'[]' if match[2] else ''}.{match[4]}")
        if whole is None or not match[3]:
            return [whole] if whole is not None else []
        chosen: list[Job] = []
        for part in match[3].split(","):
            first, _, last = part.partition("-")
            numbers = range(int(first), int(last or first) + 1)
            chosen += [whole.subjobs[number] for number in numbers if number in whole.subjobs]
        return chosen

    def all(self, *, history: bool) -> Iterator[Job]:
        """All jobs, in the order of their submission."""
        return (job for job in self.jobs.values() if history or job.state in ACTIVE)

    # From the submission to the start

    def submit(self, given: Submission) -> Job:
        """Take a job. Raises RefusedError."""
        kind = (given.depend or "after:").partition(":")[0]
        if kind not in _DEPENDENCIES:
            raise RefusedError(15054, "Invalid Job Dependency")
        job = admit(given, self.settings, next(self._numbers), self._count)
        self.jobs[job.identity] = job
        if given.held:
            self._set(job, "H", 20, hold="u")
        elif given.depend:
            self._depend(job, given.depend)
        elif (given.waits_until or 0) > time.time():
            self._set(job, "W", 30)
            self._loop.call_later((given.waits_until or 0) - time.time(), self._queue, job)
        else:
            self._queue(job)
        return job

    def _count(self, queue: str) -> int:
        return sum(job.queue == queue for job in self.all(history=False))

    def _depend(self, job: Job, depend: str) -> None:
        """Wait for other jobs; what can never be met deletes the job without a word."""
        kind, *parents = depend.split(":")
        names = [self.full_name(parent) for parent in parents]
        job.depend = ":".join((kind, *(f"{name}@{SERVER}" for name in names)))
        self._set(job, "H", 22, hold="s")
        for name in names:
            self._dependants.setdefault(name, []).append(job)
        self._loop.call_soon(self._check_dependency, job)

    def _check_dependency(self, job: Job) -> None:
        if (job.state, job.substate) != ("H", 22):
            return
        kind, *parents = (job.depend or "").split(":")
        verdicts = [verdict for name in parents for verdict in self._verdicts(kind, name)]
        if any(verdict is False for verdict in verdicts):
            self._finish(job, 92)
        elif all(verdicts):
            self._queue(job)

    def _verdicts(self, kind: str, name: str) -> list[bool | None]:
        """Whether a parent has done what its dependant waits for; None, not yet."""
        # An unknown one never will.
        return [_has_met(kind, parent) for parent in self.find(name)] or [False]

    def _queue(self, job: Job) -> None:
        if job.state not in "QHW":
            return
        job.eligible = int(time.time())
        self._set(job, "Q", 10, hold="n")
        for one in job.subjobs.values() if job.subjobs else (job,):
            one.eligible = job.eligible
            self._waiting.setdefault(one.request, {})[one.identity] = one
        self._schedule()

    def _schedule(self) -> None:
        if self._cycle is None and not self.down:
            self._cycle = self._loop.call_later(self.settings.times.schedule, self._start_all)

    def _start_all(self) -> None:
        """Start all that fits, and say of the rest why it does not."""
        self._cycle = None
        if self.down:
            return
        for request, jobs in list(self._waiting.items()):
            for job in list(jobs.values()):
                if not _may_start(job):
                    continue
                placement = place(request, self.nodes)
                if placement is None:
                    break
                del jobs[job.identity]
                self._start(job, placement)
            if not jobs:
                del self._waiting[request]
                continue
            reason = why_not(request, self.nodes)
            for job in jobs.values():
                job.comment = job.comment or reason

    def _start(self, job: Job, placement: Placement) -> None:
        job.place(placement)
        job.started = int(time.time())
        job.run_count += 1
        moment = time.strftime("%a %b %d at %H:%M")
        job.comment = f"Job run at {moment} on {job.vnodes}"
        job.usage = Usage()
        self._set(job, "R", 42)
        if job.array is not None and job.array.state == "Q":
            job.array.started = job.started
            job.array.comment = f"Job Array Began at {moment}"
            self._set(job.array, "B", 70)
        self.started += 1
        if self.start_failure is not None:
            self._ended(job, self.start_failure)
        elif self._instant is None:
            self._mom.start(job)
        else:
            status = self._instant(job.submission.script, variables_of(job))
            self._loop.call_later(self.settings.times.end_report, self._ended, job, status)
        for dependant in self._dependants.get(job.identity, ()):
            self._check_dependency(dependant)

    # From the end to history

    def _ended(self, job: Job, status: int) -> None:
        """A node reports that a job has ended."""
        if self.down:
            self._unheard.append((job, status))
            return
        if job.state != "R":
            return
        job.exit_status = status
        # A job that was never looked at has left no trace of its session.
        job.session = job.session if job.usage is not None and job.usage.seconds else None
        self._set(job, "E", 51)
        delivered = deliver(job, self.settings.directory)
        times = self.settings.times
        delay = times.undeliverable if delivered == 0 else times.exiting
        self._loop.call_later(delay, self._exited, job, delivered)

    def _exited(self, job: Job, delivered: int | None) -> None:
        if job.state != "E":
            return
        job.leave()
        job.ended = int(time.time())
        job.stageout_status = delivered
        substate = 93 if job.exit_status else 92
        if job.deleted_by is not None:
            substate = 91
        elif job.exit_status in (-27, -29):
            limit = "mem" if job.exit_status == -27 else "walltime"
            job.comment = f"{job.comment} and exceeded resource {limit}"
        else:
            job.comment = f"{job.comment} and {'failed' if job.exit_status else 'finished'}"
        self._finish(job, substate)
        self._schedule()

    def _finish(self, job: Job, substate: int) -> None:
        if job.array is not None:
            self._set(job, "X", substate)
            self._note_in_array(job.array, job)
        else:
            self._set(job, "F", substate)
            job.archived = int(time.time())
            if not self.history:
                del self.jobs[job.identity]
        for dependant in self._dependants.get(job.identity, ()):
            self._check_dependency(dependant)

    def _note_in_array(self, array: Job, job: Job) -> None:
        if job.exit_status is not None:
            array.exit_status = max(array.exit_status or 0, int(job.exit_status != 0))
            array.stageout_status = job.stageout_status
        if any(subjob.state != "X" for subjob in array.subjobs.values()):
            return
        for subjob in array.subjobs.values():
            subjob.state = "F"
            subjob.archived = int(time.time())
        if array.comment is not None:
            array.comment += " and failed" if array.exit_status else " and finished"
        substate = 93 if array.exit_status else 92
        self._finish(array, 91 if array.deleted_by is not None else substate)

    def delete(self, job: Job, *, force: bool = False) -> None:
        """Delete a job, or all sub-jobs of an array; one that runs ends later."""
        if job.subjobs:
            job.deleted_by = job.owner
            for subjob in job.subjobs.values():
                if subjob.state not in "EXF":
                    self.delete(subjob, force=force)
        elif job.state == "R":
            if self._mom.delete(job, force=force) and job.deleted_by is None:
                job.deleted_by = job.owner
                job.comment = f"{job.comment} and terminated by {job.owner}"
                job.touch()
        elif job.state in "QHW":
            job.deleted_by = job.owner
            self._waiting.get(job.request, {}).pop(job.identity, None)
            job.comment = f"{job.comment} and terminated" if job.comment else None
            self._finish(job, 91)

    # What a test does to it

    def forget(self, job: Job) -> None:
        """Know nothing of a job any more, nor leave its processes."""
        for one in (job, *job.subjobs.values()):
            if one.state in "RE":
                self._mom.lose(one)
                one.leave()
            self._waiting.get(one.request, {}).pop(one.identity, None)
            one.state = "F"
        self.jobs.pop(job.identity, None)
        self._schedule()

    def resume(self) -> None:
        """The server is up again, and hears of what has ended."""
        self.down = False
        for job, status in self._unheard:
            self._ended(job, status)
        self._unheard.clear()
        self._schedule()

    def lose_node(self, name: str) -> None:
        """A node dies with all its processes; for long, its jobs seem to run on."""
        self._node(name).up = False
        for job in self._running_on(name):
            self._mom.lose(job)
        self._loop.call_later(self.settings.times.node_fail_requeue, self._give_up_node, name)

    def revive_node(self, name: str) -> None:
        """A node is back; what was on it starts again or, if that is not allowed, has failed."""
        self._take_from(name)
        self._node(name).up = True
        self._schedule()

    def _give_up_node(self, name: str) -> None:
        if not self._node(name).up:
            self._take_from(name)

    def _take_from(self, name: str) -> None:
        for job in self._running_on(name):
            if not job.submission.rerunable:
                self._ended(job, -4)
                continue
            job.leave()
            job.hosts = job.vnodes = job.session = job.usage = job.started = job.comment = None
            self._set(job, "Q", 10)
            self._waiting.setdefault(job.request, {})[job.identity] = job
        self._schedule()

    def _running_on(self, name: str) -> list[Job]:
        return [
            job
            for whole in self.jobs.values()
            for job in (whole, *whole.subjobs.values())
            if job.state == "R" and job.placement[0][0].node.name == name
        ]

    def _node(self, name: str) -> NodeState:
        return next(state for state in self.nodes if state.node.name == name)

    def _set(self, job: Job, state: str, substate: int, hold: str | None = None) -> None:
        # Sub-jobs that have not started are what their array is.
        for one in (job, *job.subjobs.values()) if state in "QHW" else (job,):
            one.state, one.substate = state, substate
            one.hold = one.hold if hold is None else hold
            one.touch()


def _may_start(job: Job) -> bool:
    limit = job.submission.max_run
    if job.array is None or limit is None:
        return True
    return sum(subjob.state in "RE" for subjob in job.array.subjobs.values()) < limit


def _has_met(kind: str, parent: Job) -> bool | None:
    if kind == "after":
        return parent.run_count > 0 or None
    # Of a parent that was deleted before it ran, nothing is ever heard.
    if not parent.finished or parent.exit_status is None:
        return None
    return kind == "afterany" or (kind == "afterok") == (parent.exit_status == 0)
