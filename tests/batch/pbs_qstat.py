# SPDX-License-Identifier: Apache-2.0
"""What qstat does and says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pbs_access import Access
from pbs_batch import Batch
from pbs_calls import Call, Output
from pbs_commands import JOB_ID
from pbs_format import VERSION, alternate, as_document, full, header, table, to_json
from pbs_jobs import Job, attributes
from pbs_options import UsageError, misused, parse, refuse_unknown
from pbs_queues import queues
from pbs_settings import SERVER

_HISTORY = "Job has finished, use -x or -H to obtain historical job information"


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
    refuse_unknown("qstat", options, "aftuxEFDQ")
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
        self._document: dict[str, Any] = header(SERVER)
        self.history = "x" in given or "H" in given

    def chosen(self, jobs: Iterable[Job]) -> list[Job]:
        """Those of the wanted user, with their sub-jobs if these are wanted."""
        user = self._given.get("u")
        found = [job for job in jobs if user in (None, job.owner.partition("@")[0])]
        if "t" not in self._given:
            return found
        return [one for job in found for one in (job, *job.subjobs.values())]

    def one(self, operand: str) -> None:
        """Show a job, or a queue's jobs, over a connection of its own."""
        if not JOB_ID.fullmatch(operand):
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
        if not all(JOB_ID.fullmatch(operand) for operand in operands):
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
        elif "u" in self._given or "a" in self._given:
            self._output.out += alternate(jobs)
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
