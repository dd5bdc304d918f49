# SPDX-License-Identifier: Apache-2.0
"""Jobs as the server keeps them, and their attributes in the order in which it tells them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from pbs_qsub import Submission
from pbs_resources import Placement, Request, clock, vnodes
from pbs_settings import SERVER
from pbs_variables import decode

ACTIVE = "QHWRETB"
"""The states of jobs that are not history; X is a finished sub-job of an array that is not."""


@dataclass
class Usage:
    """What a job has used, as last seen."""

    cpu_seconds: float = 0.0
    memory: int = 0
    """In kilobytes, the most that was seen."""
    virtual: int = 0
    seconds: int = 0


@dataclass
class Job:
    """A job, a job array, or a sub-job of one."""

    number: int
    submission: Submission
    owner: str
    home: str
    queue: str
    request: Request
    resources: dict[str, str]
    variables: str
    output: str
    error: str
    index: int | None = None
    array: Job | None = None
    subjobs: dict[int, Job] = field(default_factory=dict)
    state: str = "Q"
    substate: int = 10
    hold: str = "n"
    created: int = field(default_factory=lambda: int(time.time()))
    modified: int = field(default_factory=lambda: int(time.time()))
    eligible: int | None = None
    started: int | None = None
    ended: int | None = None
    archived: int | None = None
    comment: str | None = None
    placement: Placement = field(default_factory=list)
    hosts: str | None = None
    vnodes: str | None = None
    session: int | None = None
    usage: Usage | None = None
    run_count: int = 0
    exit_status: int | None = None
    stageout_status: int | None = None
    depend: str | None = None
    deleted_by: str | None = None

    @property
    def identity(self) -> str:
        """Its job id."""
        if self.array is not None:
            return f"{self.number}[{self.index}].{SERVER}"
        return f"{self.number}{'[]' if self.subjobs else ''}.{SERVER}"

    @property
    def finished(self) -> bool:
        """Whether it is history."""
        return self.state == "F"

    def place(self, placement: Placement) -> None:
        """Take what it needs on nodes."""
        self.placement = placement
        self.vnodes = vnodes(placement)
        hosts = []
        for state, chunk in placement:
            count = chunk.number("ncpus")
            hosts.append(f"{state.node.name}/{state.take_slot()}{f'*{count}' if count > 1 else ''}")
            for name in state.used:
                state.used[name] += chunk.number(name)
            state.exclusive = "excl" in self.request.place
        self.hosts = "+".join(hosts)

    def leave(self) -> None:
        """Give back what it has on nodes."""
        for (state, chunk), host in zip(self.placement, (self.hosts or "").split("+"), strict=True):
            for name in state.used:
                state.used[name] -= chunk.number(name)
            state.slots.discard(int(host.partition("/")[2].partition("*")[0]))
            state.exclusive = False
        self.placement = []

    def touch(self) -> None:
        """Note that it has changed now."""
        self.modified = int(time.time())


Attribute = tuple[str, "str | None", str]
"""Name, resource and value, all as text."""


def attributes(job: Job) -> Iterator[Attribute]:
    """A job's attributes; empty ones are left out."""
    for name, value in _values(job):
        if isinstance(value, dict):
            yield from ((name, resource, amount) for resource, amount in value.items())
        elif value is not None:
            yield name, None, str(value)


def _values(job: Job) -> Iterator[tuple[str, str | int | dict[str, str] | None]]:
    given = job.submission
    whole = job.array is None
    host = job.owner.partition("@")[2]
    yield "Job_Name", given.name
    yield "Job_Owner", job.owner
    yield "resources_used", None if job.usage is None else used(job)
    yield "job_state", job.state
    yield "queue", job.queue
    yield "server", SERVER
    yield "Account_Name", given.account
    yield "Checkpoint", "u" if whole else None
    yield "ctime", date(job.created)
    yield "depend", job.depend
    yield "Error_Path", f"{host}:{job.error}"
    yield "exec_host", job.hosts
    yield "exec_vnode", job.vnodes
    yield "Execution_Time", date(given.waits_until)
    yield "Hold_Types", job.hold if whole else None
    yield "Join_Path", given.join
    yield "Keep_Files", given.keep
    yield "Mail_Points", given.mail
    yield "mtime", date(job.modified)
    yield "Output_Path", f"{host}:{job.output}"
    yield "Priority", given.priority
    yield "qtime", date(job.created)
    yield "Remove_Files", given.remove
    yield "Rerunable", str(given.rerunable)
    yield "Resource_List", job.resources
    yield "stime", date(job.started)
    yield "obittime", date(job.ended)
    yield "session_id", job.session
    yield "Shell_Path_List", given.shell
    yield "jobdir", job.home if job.run_count else None
    yield "substate", job.substate
    yield "Variable_List", job.variables
    yield "comment", job.comment
    yield "etime", date(job.eligible)
    yield "umask", given.umask
    yield "run_count", job.run_count or None
    yield "Stageout_status", job.stageout_status
    yield "Exit_status", job.exit_status
    yield "Submit_arguments", given.arguments if whole and given.arguments else None
    yield from _array_values(job)
    yield "history_timestamp", job.archived
    yield "project", given.project
    yield "Submit_Host", host
    yield "max_run_subjobs", given.max_run if job.subjobs else None


def _array_values(job: Job) -> Iterator[tuple[str, str | int | None]]:
    if job.array is not None:
        yield "array_id", job.array.identity
        yield "array_index", job.index
    if job.subjobs:
        states = [subjob.state for subjob in job.subjobs.values()]
        counts = (sum(map(states.count, wanted)) for wanted in ("QHW", "R", "E", "X"))
        yield "array", "True"
        yield "array_state_count", "Queued:{} Running:{} Exiting:{} Expired:{}".format(*counts)
        indices = job.submission.indices
        assert indices is not None
        yield "array_indices_submitted", _ranges(list(indices), indices.step)
        queued = [number for number, subjob in job.subjobs.items() if subjob.state in "QHW"]
        yield "array_indices_remaining", _ranges(queued, indices.step)


def _ranges(numbers: list[int], step: int) -> str:
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + step:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    suffix = f":{step}" if step > 1 else ""
    texts = (f"{first}-{last}{suffix}" if last > first else f"{first}" for first, last in parts)
    return ",".join(texts) or "-"


def used(job: Job) -> dict[str, str]:
    """What it has used, as PBS writes it."""
    usage = job.usage or Usage()
    percent = int(100 * usage.cpu_seconds / usage.seconds) if usage.seconds else 0
    return {
        "cpupercent": str(percent),
        "cput": clock(int(usage.cpu_seconds)),
        "mem": f"{usage.memory}kb",
        "ncpus": job.resources.get("ncpus", "1"),
        "vmem": f"{usage.virtual}kb",
        "walltime": clock(usage.seconds),
    }


def date(moment: int | None) -> str | None:
    """A moment as ctime(3) writes it."""
    return None if moment is None else time.ctime(moment)


def variables_of(job: Job) -> dict[str, str]:
    """The variables that come with it."""
    return dict(decode(job.variables))
