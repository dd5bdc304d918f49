# SPDX-License-Identifier: Apache-2.0
"""What each of PBS's commands does and says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from pbs_batch import Batch
from pbs_calls import Access, Call, Output
from pbs_format import VERSION, as_document, full, header, table, to_json
from pbs_jobs import Job, attributes
from pbs_options import UsageError, misused, parse
from pbs_qsub import command_line, read_script, submission
from pbs_queues import queues
from pbs_resources import RefusedError

_HISTORY = "Job has finished, use -x or -H to obtain historical job information"
_JOB_ID = re.compile(r"\d+(\[[\d,:-]*\])?(\.[\w.-]+)?(@[\w.-]+)?")


async def qsub(batch: Batch, access: Access, call: Call) -> Output:
    """Submit a job."""
    output = Output()
    try:
        options = command_line(call.arguments)
        script = ""
        if not options.executable:
            try:
                script = await call.read("" if options.script in ("", "-") else options.script)
            except OSError as error:
                raise UsageError(f"qsub: script file:: {error.strerror}\n", 1) from error
            read_script(options, script, call.environment)
        given = submission(
            options,
            call.arguments,
            script,
            call.directory,
            call.environment,
            batch.settings.dialect,
        )
    except UsageError as error:
        return Output(error=error.text, code=error.code)
    output.stay = given.background and not given.block
    await access.connect(call)
    server = given.queue.partition("@")[2]
    if server not in ("", batch.settings.server):
        output.fail("Unknown Host.", 15008)
        output.fail(f"qsub: cannot connect to server {batch.settings.server} (errno=15008)", 15008)
        return output
    try:
        job = batch.submit(given)
    except RefusedError as error:
        output.stay = False
        text = "qsub: illegal -J value" if error.number == 0 else f"qsub: {error.text}"
        output.fail(text, error.number)
        return output
    if not given.silent:
        await call.write(1, f"{job.identity}\n")
    if given.block:
        return await _block(job)
    return output


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
    names = [name for name in operands if _JOB_ID.fullmatch(name)]
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


async def qstat(batch: Batch, access: Access, call: Call) -> Output:
    """Print jobs, queues or the server."""
    if call.arguments == ["--version"]:
        return Output(out=f"pbs_version = {VERSION}\n")
    options, operands, complaints = parse("qstat", call.arguments)
    given = dict(options)
    form = given.get("F", "default").lower()
    if form not in ("default", "dsv", "json"):
        raise misused("qstat", complaints)
    if form != "default" and "f" not in given:
        complaints += "qstat: conflicting options.\n"
    if complaints:
        raise misused("qstat", complaints)
    if "Q" in given:
        await access.connect(call)
        return queues(batch, operands, form, full="f" in given)
    query = _Query(batch, given, form)
    if "E" in given and operands:
        await query.express(access, call, operands)
    elif operands:
        for operand in operands:
            await access.connect(call)
            query.one(operand)
    else:
        await access.connect(call)
        query.show(query.chosen(batch.all(history=query.history)))
    return query.result()


class _Query:
    """One qstat: the jobs that it shows, and what it complains of."""

    def __init__(self, batch: Batch, given: dict[str, str], form: str) -> None:
        self._batch = batch
        self._given = given
        self._form = form
        self._release = batch.settings.dialect == "release"
        self._output = Output()
        self._document: dict[str, Any] = header(batch.settings.server)
        self.history = "x" in given or "H" in given

    def chosen(self, jobs: Any) -> list[Job]:
        """Those of the wanted user, with their sub-jobs if these are wanted."""
        user = self._given.get("u")
        found = [job for job in jobs if user in (None, job.owner.partition("@")[0])]
        if "t" not in self._given:
            return found
        return [one for job in found for one in (job, *job.subjobs.values())]

    def one(self, operand: str) -> None:
        """Show a job, or a queue's jobs, over a connection of its own."""
        if not _JOB_ID.fullmatch(operand):
            self._queue(operand)
            return
        jobs = self._batch.find(operand)
        name = self._batch.full_name(operand)
        if not jobs:
            self._output.fail(f"qstat: Unknown Job Id {name}", 15001)
        elif jobs[0].finished and not self.history:
            self._output.fail(f"qstat: {name} {_HISTORY}", 15139)
        else:
            self.show(self.chosen(jobs))

    def _queue(self, operand: str) -> None:
        if operand not in [queue.name for queue in self._batch.settings.queues]:
            self._output.fail(f"qstat: Unknown queue destination {operand}", 15018)
            return
        jobs = self._batch.all(history=self.history)
        self.show(self.chosen(job for job in jobs if job.queue == operand))

    async def express(self, access: Access, call: Call, operands: Sequence[str]) -> None:
        """Show all jobs over one connection; those that are unknown are left out."""
        if not all(_JOB_ID.fullmatch(operand) for operand in operands):
            raise UsageError("qstat: Express option can only be used with job ids\n", 1)
        await access.connect(call)
        names = sorted(operands, key=_order)
        known = [job for name in names for job in self._batch.find(name)]
        shown = [job for job in known if self.history or not job.finished]
        if shown:
            self.show(self.chosen(shown))
        elif known:
            self._output.fail(f"qstat: {known[-1].identity} {_HISTORY}", 15139)
        else:
            self._output.fail(f"qstat: Unknown Job Id {self._batch.full_name(names[-1])}", 15001)

    def show(self, jobs: list[Job]) -> None:
        """Print what the server has told over one connection."""
        if not jobs:
            return
        if self._form == "json":
            # Later ones have nowhere to go: https://github.com/openpbs/openpbs/issues/2672
            if "Jobs" in self._document and not self._release:
                return
            dialect = self._batch.settings.dialect
            self._document.setdefault("Jobs", {}).update(
                (job.identity, as_document(attributes(job), dialect)) for job in jobs
            )
        elif "f" in self._given:
            delimiter = self._given.get("D", "|") if self._form == "dsv" else ""
            self._output.out += "".join(full(job, delimiter) for job in jobs)
        else:
            text = table(jobs)
            # Only the first server that is asked has a header.
            self._output.out += text if not self._output.out else text.split("\n", 2)[2]

    def result(self) -> Output:
        """What is printed in the end."""
        if self._form == "json":
            self._output.out = to_json(self._document, self._batch.settings.dialect)
        return self._output


def _order(name: str) -> tuple[int, int]:
    numbers = [int(number) for number in re.findall(r"\d+", name.partition(".")[0])]
    return numbers[0], numbers[1] if len(numbers) > 1 else -1
