# SPDX-License-Identifier: Apache-2.0
"""Whether a queue takes a job, and the job that it becomes."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from dataclasses import replace

from pbs_jobs import Job
from pbs_qsub import Submission
from pbs_resources import RefusedError, Request, parse_resources, seconds
from pbs_settings import SUBMIT_HOST, PbsQueue, PbsSettings


def admit(
    given: Submission, settings: PbsSettings, number: int, count: Callable[[str], int]
) -> Job:
    """Return a new job; `count` says how many a queue has. Raises RefusedError."""
    queue = _queue(given, settings, count)
    resources, request = _resources(given, queue, settings)
    base = f"{given.directory}/{given.name}"
    suffix = ".^array_index^" if given.indices else ""
    job = Job(
        number=number,
        submission=given,
        owner=f"{pwd.getpwuid(os.getuid()).pw_name}@{SUBMIT_HOST}",
        home=str(settings.home),
        queue=queue.name,
        request=request,
        resources=resources,
        variables=f"{given.variables},PBS_O_QUEUE={queue.name},PBS_O_HOST={SUBMIT_HOST}",
        output=given.output or f"{base}.o{number}{suffix}",
        error=given.error or f"{base}.e{number}{suffix}",
    )
    for index in given.indices or ():
        job.subjobs[index] = replace(
            job,
            index=index,
            array=job,
            subjobs={},
            output=job.output.replace("^array_index^", str(index)),
            error=job.error.replace("^array_index^", str(index)),
        )
    return job


def _queue(given: Submission, settings: PbsSettings, count: Callable[[str], int]) -> PbsQueue:
    name = given.queue.partition("@")[0] or settings.queues[0].name
    queue = next((queue for queue in settings.queues if queue.name == name), None)
    if queue is None:
        raise RefusedError(15018, "Unknown queue")
    if not queue.enabled:
        raise RefusedError(15021, "Queue is not enabled")
    if queue.max_queued is not None and count(name) >= queue.max_queued:
        raise RefusedError(15046, "Maximum number of jobs already in queue")
    if queue.members_only:
        raise RefusedError(15007, "Unauthorized Request ")
    if queue.projects is not None and given.project not in queue.projects:
        raise RefusedError(15169, f"project {given.project} may not use queue {name}")
    return queue


def _resources(
    given: Submission, queue: PbsQueue, settings: PbsSettings
) -> tuple[dict[str, str], Request]:
    default = {"walltime": queue.default_walltime} if queue.default_walltime else {}
    resources, request = parse_resources({**default, **given.resources}, settings.nodes)
    limit = queue.max_walltime
    if limit and seconds(resources.get("walltime", "0")) > seconds(limit):
        raise RefusedError(15036, "Job violates queue and/or server resource limits")
    return resources, request
