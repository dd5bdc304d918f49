# SPDX-License-Identifier: Apache-2.0
"""PBS Professional and OpenPBS.

What is said here of their behaviour was seen on OpenPBS 23.06 (`qstat --version`) and on its master
branch; names and codes are those of qsub(1B), qstat(1B), pbs_job_attributes(7B) and its
src/include/job.h.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from cwl_udss.batch.systems.system import (
    Answer,
    Cause,
    JobRequest,
    JobState,
    JobStatus,
    Resources,
    by_number,
    clock,
)

# JOB_EXEC_… of job.h: how PBS itself has ended a job.
_ENDED_BY_PBS = {
    -29: Cause.WALLTIME,
    -28: Cause.WALLTIME,  # processor time
    -27: Cause.MEMORY,
    -26: Cause.MEMORY,  # virtual memory
    -4: Cause.NODE_LOST,  # its MoM was restarted, and the job may not be run again
    -11: Cause.NODE_LOST,  # to be run again
}
_SIGNAL_OFFSET = 256  # 256 + n: the job's first process died of signal n
_SIGTERM, _SIGKILL = 15, 9
_DELETED = 91  # the substate of a job that was deleted: JOB_SUBSTATE_TERMINATED
_WAITING_STATES = frozenset("QHWTMS")
_UNITS = {"b": 0, "kb": 10, "mb": 20, "gb": 30, "tb": 40}
# Of a server that has more to do than it can, or is not there for a while.
_TRANSIENT = re.compile(
    r"too busy|cannot connect to|connection refused|timed? ?out|reserved ports in use"
    r"|couldn't connect|end of file|try again|no connection|server .*not.* running",
    re.IGNORECASE,
)
_NO_HISTORY = re.compile(r"history", re.IGNORECASE)


class Pbs:
    """PBS by its commands."""

    name = "PBS"

    def __init__(self) -> None:
        self._keeps_history = True

    def submit_command(self, request: JobRequest) -> list[str]:
        """Return the qsub command."""
        placement = request.placement
        words = [
            *("qsub", "-N", request.name, "-r", "n"),  # what runs a step again is ours to decide
            *("-j", "oe", "-o", "/dev/null"),  # the script writes a log by itself, at once
        ]
        if placement.queue:
            words += ["-q", placement.queue]
        if placement.account:
            words += ["-A", placement.account]
        if placement.project:
            words += ["-P", placement.project]
        words += _resource_words(request.resources, placement.chunk, placement.uses_select)
        return [*words, *placement.options, str(request.script)]

    def submitted(self, output: str) -> str:
        """Return the id that qsub has printed."""
        found = re.search(r"^\d+(\[\])?\.\S+$", output, re.MULTILINE)
        return found[0] if found else ""

    def query_command(self, jobs: Collection[str]) -> list[str]:
        """Return the qstat command. Without -E it opens a connection for each job, from a
        privileged port, of which there are some 500 a minute; and master's shows the first only."""
        history = ["-x"] if self._keeps_history else []
        return ["qstat", "-E", *history, "-f", "-F", "json", *jobs]

    def statuses(self, answer: Answer, jobs: Collection[str]) -> dict[str, JobStatus] | None:
        """Return what qstat says. It fails as a whole for an unknown job among known ones."""
        if self._forgets(answer) or self.is_transient(answer) or b"pbs_server" not in answer.output:
            return None
        attributes = parse_jobs(answer.output.decode("utf-8", errors="replace"))
        return by_number({job: job_status(facts) for job, facts in attributes.items()}, jobs)

    def delete_command(self, jobs: Collection[str]) -> list[str]:
        """Return the qdel command."""
        return ["qdel", *jobs]

    def find_command(self, name: str) -> list[str]:
        """Return the qselect command."""
        return ["qselect", *(["-x"] if self._keeps_history else []), "-N", name]

    def found(self, answer: Answer) -> list[str] | None:
        """Return the ids that qselect has printed."""
        if self._forgets(answer) or answer.exit_code:
            return None
        return answer.output.decode(errors="replace").split()

    def _forgets(self, answer: Answer) -> bool:
        """Say whether this was refused because no history is kept; it is not asked for again."""
        is_refused = not answer.output.strip() and bool(_NO_HISTORY.search(answer.error))
        self._keeps_history = self._keeps_history and not is_refused
        return is_refused

    def is_transient(self, answer: Answer) -> bool:
        """Say whether the server may have time later."""
        return answer.exit_code != 0 and bool(_TRANSIENT.search(answer.error))

    def cause_in_log(self, log: str) -> Cause | None:
        """Nothing: all is in the job's exit status."""
        return None


def _resource_words(resources: Resources, chunk: str, uses_select: bool) -> list[str]:
    """What is asked for; always with ncpus, as its default is the site's."""
    asked = [f"ncpus={resources.cores}"]
    if resources.memory is not None:
        asked.append(f"mem={resources.memory}mb")
    if resources.gpus:
        asked.append(f"ngpus={resources.gpus}")
    asked += [part for part in chunk.split(":") if part]
    walltime = [] if resources.walltime is None else [f"walltime={clock(resources.walltime)}"]
    if uses_select or resources.nodes > 1:
        words = ["-l", f"select={resources.nodes}:{':'.join(asked)}"]
        if resources.nodes > 1:
            words += ["-l", "place=scatter"]
        return [*words, "-l", walltime[0]] if walltime else words
    return ["-l", ",".join([*asked, *walltime])]


def parse_jobs(text: str) -> dict[str, dict[str, Any]]:
    """Return the attributes of each job in qstat's JSON."""
    try:
        jobs = json.loads(text).get("Jobs", {})
    except ValueError:
        return _scan_jobs(text)
    return {str(job): facts for job, facts in jobs.items() if isinstance(facts, dict)}


def _scan_jobs(text: str) -> dict[str, dict[str, Any]]:
    """The same from JSON that is none: the release 23.06 writes a variable `inf` as a number, and
    mangles others. Each attribute is on a line of its own, and those needed are sound."""
    jobs: dict[str, dict[str, Any]] = {}
    facts: dict[str, Any] = {}
    for line in text.splitlines():
        opened = re.match(r'\s*"(\d+(?:\[\d*\])?\.[^"]*)":\s*\{', line)
        if opened:
            facts = jobs.setdefault(opened[1], {"resources_used": {}})
            continue
        pair = re.match(r'\s*"(\w+)":\s*(?:"(.*)"|(-?\d+)),?$', line)
        if pair is None:
            continue
        name, word, number = pair.groups()
        value = word if number is None else int(number)
        if name in ("job_state", "substate", "Exit_status", "comment", "exec_host"):
            facts[name] = value
        elif name == "mem" and "used" not in facts:  # resources_used comes before Resource_List
            facts["resources_used"] = {"mem": value}
            facts["used"] = True
    return jobs


def job_status(facts: dict[str, Any]) -> JobStatus:
    """Return what a job's attributes say."""
    state = str(facts.get("job_state", ""))
    words = str(facts.get("comment") or "")
    node = str(facts.get("exec_host") or "").partition("/")[0]
    used = facts.get("resources_used") or {}
    memory = parse_memory(str(used.get("mem", ""))) if isinstance(used, dict) else None
    if state in _WAITING_STATES:
        # Such a job is accepted, and waits for ever.
        hopeless = words.startswith("Can Never Run")
        words = words or ("held" if state == "H" else "")
        return JobStatus(state=JobState.WAITING, words=words, is_hopeless=hopeless)
    if state not in ("F", "X"):
        return JobStatus(state=JobState.RUNNING, words=words, node=node, memory_bytes=memory)
    code = facts.get("Exit_status")
    return JobStatus(
        state=JobState.ENDED,
        cause=_cause(code if isinstance(code, int) else None, facts.get("substate")),
        exit_code=code if isinstance(code, int) else None,
        words=words,
        node=node,
        memory_bytes=memory,
    )


def _cause(code: int | None, substate: object) -> Cause:
    if code is None:
        # Deleted while it waited, or depending on what will never be; 92 is of successes, too.
        return Cause.DELETED if substate == _DELETED else Cause.NEVER_RAN
    if code in _ENDED_BY_PBS:
        return _ENDED_BY_PBS[code]
    if code < 0:
        return Cause.NEVER_RAN  # the job's start has failed
    if substate == _DELETED or code in (_SIGNAL_OFFSET + _SIGTERM, _SIGNAL_OFFSET + _SIGKILL):
        return Cause.DELETED
    return Cause.EXITED


def parse_memory(text: str) -> int | None:
    """Return the bytes that PBS means by an amount such as 625560kb."""
    match = re.fullmatch(r"(\d+)([kmgt]?b)?", text)
    return int(match[1]) << _UNITS[match[2] or "b"] if match else None
