# SPDX-License-Identifier: Apache-2.0
"""The server's queue: what becomes of a job from its submission to its history."""

from __future__ import annotations

import asyncio
import itertools
import os
import pwd
import re
import runpy
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from pbs_jobs import ACTIVE, Job, Usage, variables_of
from pbs_mom import Mom, deliver
from pbs_qsub import Submission
from pbs_resources import (
    NodeState,
    Placement,
    RefusedError,
    Request,
    parse_resources,
    place,
    seconds,
    why_not,
)
from pbs_settings import PbsQueue, PbsSettings
from pbs_variables import encode

_DEPENDENCIES = ("after", "afterok", "afternotok", "afterany")


class Batch:
    """All jobs, where they wait and where they run."""

    def __init__(self, settings: PbsSettings) -> None:
        self.settings = settings
        self.nodes = [NodeState(node) for node in settings.nodes]
        self.jobs: dict[str, Job] = {}
        self.history = settings.history
        self.paused = False
        """Whether the server is down: nothing starts, and no end is heard of."""
        self.started = 0
        self.start_failure: int | None = None
        self._numbers = itertools.count()
        self._waiting: dict[Request, dict[str, Job]] = {}
        self._children: dict[str, list[Job]] = {}
        self._unheard: list[tuple[Job, int]] = []
        self._wake: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._mom = Mom(settings, self._ended)
        self._instant: Callable[[str, dict[str, str]], int] | None = None
        if settings.instant is not None:
            self._instant = runpy.run_path(str(settings.instant))["run"]
        self.user = f"{pwd.getpwuid(os.getuid()).pw_name}@{settings.submit_host}"

    # Submission

    def submit(self, given: Submission) -> Job:
        """Take a job. Raises RefusedError."""
        queue = self._queue(given)
        default = {"walltime": queue.default_walltime} if queue.default_walltime else {}
        resources, request = parse_resources({**default, **given.resources}, self.settings.nodes)
        limit = queue.max_walltime
        if limit and seconds(resources.get("walltime", "0")) > seconds(limit):
            text = "Job violates queue and/or server resource limits"
            raise RefusedError(15036, text)
        number = next(self._numbers)
        suffix = ".^array_index^" if given.indices else ""
        place_of = f"{given.directory}/{given.name}"
        host = encode(self.settings.submit_host)
        job = Job(
            number=number,
            server=self.settings.server,
            submission=given,
            owner=self.user,
            queue=queue.name,
            request=request,
            resources=resources,
            variables=f"{given.variables},PBS_O_QUEUE={queue.name},PBS_O_HOST={host}",
            output=given.output or f"{place_of}.o{number}{suffix}",
            error=given.error or f"{place_of}.e{number}{suffix}",
        )
        self._expand(job)
        self.jobs[job.identity] = job
        self._enter(job)
        return job

    def _queue(self, given: Submission) -> PbsQueue:
        name = given.queue or self.settings.queues[0].name
        queue = next((queue for queue in self.settings.queues if queue.name == name), None)
        if queue is None:
            raise RefusedError(15018, "Unknown queue")
        if not queue.enabled:
            raise RefusedError(15021, "Queue is not enabled")
        if queue.groups is not None:
            raise RefusedError(15007, "Unauthorized Request ")
        if queue.projects is not None and given.project not in queue.projects:
            text = f"project {given.project} may not use queue {name}"
            raise RefusedError(15169, text)
        queued = sum(job.queue == name and not job.finished for job in self.jobs.values())
        if queue.max_queued is not None and queued >= queue.max_queued:
            raise RefusedError(15046, "Maximum number of jobs already in queue")
        return queue

    def _expand(self, job: Job) -> None:
        indices = job.submission.indices
        for index in indices or ():
            job.subjobs[index] = replace(
                job,
                index=index,
                array=job,
                subjobs={},
                output=job.output.replace("^array_index^", str(index)),
                error=job.error.replace("^array_index^", str(index)),
            )

    def _enter(self, job: Job) -> None:
        if job.submission.held:
            self._set(job, "H", 20, hold="u")
        elif job.submission.depend:
            self._depend(job)
        elif (job.submission.waits_until or 0) > time.time():
            self._set(job, "W", 30)
            delay = (job.submission.waits_until or 0) - time.time()
            self._loop.call_later(delay, self._release, job)
        else:
            self._release(job)

    def _depend(self, job: Job) -> None:
        """Wait for other jobs; what can't be met deletes the job without a word."""
        kind, *parents = (job.submission.depend or "").split(":")
        found = [self.find(parent) for parent in parents]
        if kind not in _DEPENDENCIES:
            raise RefusedError(15054, "Invalid Job Dependency")
        names = [self.full_name(parent) for parent in parents]
        server = self.settings.server
        job.depend = ":".join((kind, *(f"{name}@{server}" for name in names)))
        self._set(job, "H", 22, hold="s")
        for jobs in found:
            for parent in jobs:
                self._children.setdefault(parent.identity, []).append(job)
        if all(found):
            self._loop.call_soon(self._check_dependency, job)
        else:
            self._loop.call_soon(self._finish, job, 92)

    def _check_dependency(self, job: Job) -> None:
        if job.state != "H" or job.substate != 22:
            return
        kind, *parents = (job.depend or "").split(":")
        verdicts = []
        for name in parents:
            for parent in self.find(name.partition("@")[0]):
                # Of a job that was deleted before it ran, nothing is ever heard.
                ran = parent.exit_status is not None
                good = {
                    "after": parent.run_count > 0,
                    "afterok": ran and parent.exit_status == 0,
                    "afternotok": ran and parent.exit_status != 0,
                    "afterany": ran,
                }[kind]
                over = parent.finished and ran
                verdicts.append(good if over or kind == "after" else None)
        if any(verdict is False for verdict in verdicts) and kind != "after":
            self._finish(job, 92)
        elif all(verdicts):
            job.hold = "n"
            self._release(job)

    def _release(self, job: Job) -> None:
        job.hold = "n"
        job.eligible = int(time.time())
        self._set(job, "Q", 10)
        for one in job.subjobs.values() if job.subjobs else (job,):
            one.eligible = job.eligible
            self._waiting.setdefault(one.request, {})[one.identity] = one
        self._schedule()

    # Scheduling

    def _schedule(self) -> None:
        if self._wake is None and not self.paused:
            delay = self.settings.times.schedule
            self._wake = self._loop.call_later(delay, self._run_cycle)

    def _run_cycle(self) -> None:
        self._wake = None
        if self.paused:
            return
        for request, jobs in list(self._waiting.items()):
            for job in list(jobs.values()):
                if not self._may_run(job):
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

    def _may_run(self, job: Job) -> bool:
        limit = job.submission.max_run
        if job.array is None or limit is None:
            return True
        running = sum(subjob.state in "RE" for subjob in job.array.subjobs.values())
        return running < limit

    def _start(self, job: Job, placement: Placement) -> None:
        now = int(time.time())
        job.place(placement)
        job.started = now
        job.run_count += 1
        job.comment = f"Job run at {time.strftime('%a %b %d at %H:%M')} on {job.vnodes}"
        job.usage = Usage()
        self._set(job, "R", 42)
        if job.array is not None and job.array.state == "Q":
            job.array.started = now
            job.array.comment = f"Job Array Began at {time.strftime('%a %b %d at %H:%M')}"
            self._set(job.array, "B", 70)
        self.started += 1
        if self.start_failure is not None:
            self._ended(job, self.start_failure)
        elif self._instant is not None:
            variables = {**variables_of(job), "PBS_JOBID": job.identity}
            if job.index is not None:
                variables["PBS_ARRAY_INDEX"] = str(job.index)
            status = self._instant(job.submission.script, variables)
            self._loop.call_later(self.settings.times.end_report, self._ended, job, status)
        else:
            self._mom.start(job)

    # Ends

    def _ended(self, job: Job, status: int) -> None:
        """A node reports that a job has ended."""
        if self.paused:
            self._unheard.append((job, status))
            return
        if job.state != "R":
            return
        job.exit_status = status
        job.session = job.session if job.usage and job.usage.seconds else None
        job.ended = int(time.time())
        self._set(job, "E", 51)
        job.stageout_status = deliver(job, self.settings.directory) if status != -1 else None
        times = self.settings.times
        delay = times.undeliverable if job.stageout_status == 0 else times.exiting
        self._loop.call_later(delay, self._exited, job)

    def _exited(self, job: Job) -> None:
        status = job.exit_status
        job.leave()
        if job.deleted_by is not None:
            ending = f"terminated by {job.deleted_by}"
        elif status in (-27, -29):
            ending = f"exceeded resource {'mem' if status == -27 else 'walltime'}"
        else:
            ending = "failed" if status else "finished"
        job.comment = f"{job.comment} and {ending}" if job.deleted_by is None else job.comment
        substate = 91 if job.deleted_by is not None else 93 if status else 92
        self._finish(job, substate)
        self._schedule()

    def _finish(self, job: Job, substate: int) -> None:
        """Make a job history."""
        if job.state == "F":
            return
        if job.array is None:
            self._set(job, "F", substate)
            job.archived = int(time.time())
            if not self.history:
                self.jobs.pop(job.identity, None)
        else:
            self._set(job, "X", substate)
            self._note_in_array(job.array, job)
        for child in self._children.get(job.identity, ()):
            self._check_dependency(child)

    def _note_in_array(self, array: Job, job: Job) -> None:
        if job.exit_status is not None:
            array.exit_status = max(array.exit_status or 0, int(job.exit_status != 0))
            array.stageout_status = job.stageout_status
        if any(subjob.state not in "XF" for subjob in array.subjobs.values()):
            return
        for subjob in array.subjobs.values():
            subjob.state = "F"
            subjob.archived = int(time.time())
        if array.comment is not None:
            array.comment += " and failed" if array.exit_status else " and finished"
        substate = 93 if array.exit_status else 92
        self._finish(array, 91 if array.deleted_by is not None else substate)

    def delete(self, job: Job, *, force: bool = False) -> None:
        """Delete a job or all sub-jobs of an array."""
        job.deleted_by = self.user
        if job.subjobs:
            for subjob in job.subjobs.values():
                if subjob.state not in "XF":
                    self.delete(subjob, force=force)
        elif job.state == "R":
            if " and terminated" not in (job.comment or ""):
                job.comment = f"{job.comment} and terminated by {self.user}"
                job.touch()
            if self._instant is None:
                self._mom.delete(job, force=force)
        elif job.state in "QHW":
            waiting = self._waiting.get(job.request, {})
            waiting.pop(job.identity, None)
            job.comment = f"{job.comment} and terminated" if job.comment else None
            self._finish(job, 91)

    def forget(self, job: Job) -> None:
        """Know nothing of a job any more."""
        if job.state == "R":
            self._mom.lose(job)
            job.leave()
        self._waiting.get(job.request, {}).pop(job.identity, None)
        job.state = "F"
        self.jobs.pop(job.identity, None)
        self._schedule()

    # Faults

    def resume(self) -> None:
        """The server is up again, and hears of what has ended."""
        self.paused = False
        for job, status in self._unheard:
            self._ended(job, status)
        self._unheard.clear()
        self._schedule()

    def lose_node(self, name: str) -> None:
        """A node dies with all its processes; its jobs stay as they are."""
        self._node(name).up = False
        for job in self._running_on(name):
            self._mom.lose(job)
        times = self.settings.times
        delay = times.node_down + times.node_fail_requeue
        self._loop.call_later(delay, self._requeue_lost, name)

    def revive_node(self, name: str) -> None:
        """A node is back; jobs that were on it start again or, if they may not, are over."""
        self._take_from(name)
        self._node(name).up = True
        self._schedule()

    def _requeue_lost(self, name: str) -> None:
        if not self._node(name).up:
            self._take_from(name)

    def _take_from(self, name: str) -> None:
        for job in self._running_on(name):
            if job.submission.rerunable:
                job.leave()
                job.hosts = job.vnodes = job.session = job.usage = job.started = None
                self._set(job, "Q", 10)
                self._waiting.setdefault(job.request, {})[job.identity] = job
            else:
                self._ended(job, -4)
        self._schedule()

    def _running_on(self, name: str) -> list[Job]:
        return [
            job
            for whole in self.jobs.values()
            for job in (whole, *whole.subjobs.values())
            if job.state == "R" and job.placement and job.placement[0][0].node.name == name
        ]

    def _node(self, name: str) -> NodeState:
        return next(state for state in self.nodes if state.node.name == name)

    # Looking things up

    def full_name(self, name: str) -> str:
        """A job id with the server's name."""
        return name if "." in name else f"{name}.{self.settings.server}"

    def find(self, name: str) -> list[Job]:
        """The jobs that an id names: one, or a range of an array's sub-jobs; none, unknown."""
        match = re.fullmatch(r"(\d+)(\[([\d,:-]*)\])?\.(.+)", self.full_name(name))
        if match is None or match[4] != self.settings.server:
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

    def _set(self, job: Job, state: str, substate: int, hold: str | None = None) -> None:
        job.state, job.substate = state, substate
        if hold is not None:
            job.hold = hold
        job.touch()
        for subjob in job.subjobs.values() if state in "QHW" else ():
            subjob.state, subjob.substate, subjob.hold = state, substate, job.hold
