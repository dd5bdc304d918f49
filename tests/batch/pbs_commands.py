# SPDX-License-Identifier: Apache-2.0
"""What each of PBS's commands does and says."""

from __future__ import annotations

import asyncio
import re

from pbs_access import Access
from pbs_batch import Batch
from pbs_calls import Call, Output
from pbs_jobs import Job
from pbs_options import UsageError, misused, parse, refuse_unknown
from pbs_qsub import Submission, command_line, read_script, submission
from pbs_resources import RefusedError
from pbs_settings import SERVER

JOB_ID = re.compile(r"\d+(\[[\d,-]*\])?(\.[\w.-]+)?(@[\w.-]+)?")


async def qsub(batch: Batch, access: Access, call: Call) -> Output:
    """Submit a job."""
    given = await _read(call, batch.settings.dialect)
    await access.connect(call)
    output = Output()
    server = given.queue.partition("@")[2]
    if server not in ("", SERVER):
        text = f"qsub: cannot connect to server {SERVER} (errno=15008)"
        output.fail(f"Unknown Host.\n{text}", 15008)
        return output
    try:
        job = batch.submit(given)
    except RefusedError as error:
        output.fail(f"qsub: {error.text}", error.number)
        return output
    if not given.silent:
        await call.write(1, f"{job.identity}\n")
    return await _block(job) if given.block else Output(stay=given.background)


async def _read(call: Call, dialect: str) -> Submission:
    options = command_line(call.arguments)
    script = ""
    if not options.executable:
        try:
            script = await call.read("" if options.script == "-" else options.script)
        except OSError as error:
            raise UsageError(f"qsub: script file:: {error.strerror}\n", 1) from error
        read_script(options, script, call.environment, dialect)
    return submission(options, call.arguments, script, call.directory, call.environment, dialect)


async def _block(job: Job) -> Output:
    while not job.finished:
        await asyncio.sleep(0.02)
    if job.exit_status is None:
        text = f"qsub: {job.identity} Job to be deleted at request of {job.deleted_by}"
        return Output(error=f"{text}\n", code=3)
    return Output(code=job.exit_status & 255)


async def qdel(batch: Batch, access: Access, call: Call) -> Output:
    """Delete jobs."""
    options, operands, complaints = parse("qdel", call.arguments)
    for letter, value in options:
        if letter == "W" and not re.fullmatch(r"force|suppress_email=-?\d+|\d+", value):
            complaints += "qdel: illegal -W value\n"
    if complaints or not operands:
        raise misused("qdel", complaints)
    output = Output()
    names = [name for name in operands if JOB_ID.fullmatch(name)]
    for name in operands:
        if name not in names:
            output.fail(f"qdel: illegally formed job identifier: {name}", 1)
    if names:
        await access.connect(call)
    force, purge = ("W", "force") in options, ("x", "") in options
    failures: dict[int, str] = {}
    for name in dict.fromkeys(names):
        number, text = _delete(batch, name, force=force, purge=purge)
        if number:
            failures.setdefault(number, text)
    for number, text in failures.items():
        output.fail(text, number)
    return output


def _delete(batch: Batch, name: str, *, force: bool, purge: bool) -> tuple[int, str]:
    jobs = batch.find(name)
    if not jobs:
        # Of several unknown jobs only the first is told of.
        return 15001, f"qdel: Unknown Job Id {batch.full_name(name)}"
    for job in jobs:
        if job.state == "X":
            return 15159, f"qdel: Request invalid for finished array subjob {job.identity}"
        if job.finished and not purge:
            return 15139, f"qdel: Job has finished {job.identity}"
        if job.state == "E" and not force:
            return 15016, f"qdel: Request invalid for state of job {job.identity}"
        if job.finished:
            batch.forget(job)
        else:
            batch.delete(job, force=force)
            if purge:
                batch.forget(job)
    return 0, ""


async def qselect(batch: Batch, access: Access, call: Call) -> Output:
    """Print the ids of jobs that have all that is asked for."""
    options, operands, complaints = parse("qselect", call.arguments)
    if complaints or operands:
        raise misused("qselect", complaints)
    refuse_unknown("qselect", options, "AHJNPTqsux")
    await access.connect(call)
    given = dict(options)
    history = "x" in given or "H" in given
    if history and not batch.history:
        return Output(error="qselect: PBS is not configured to maintain job history\n")
    jobs = list(batch.all(history=history))
    if "T" in given:
        jobs = [one for job in jobs for one in (job, *job.subjobs.values())]
    states = "FM" if "H" in given else given.get("s", "")
    users = given["u"].split(",") if "u" in given else None
    chosen = [
        job
        for job in jobs
        if (not states or job.state in states)
        and (users is None or job.owner.partition("@")[0] in users)
        and given.get("N", job.submission.name) == job.submission.name
        and given.get("q", job.queue) == job.queue
        and given.get("P", job.submission.project) == job.submission.project
        and given.get("A", job.submission.account) == job.submission.account
        and ("J" not in given or job.subjobs)
    ]
    return Output(out="".join(f"{job.identity}\n" for job in chosen))
