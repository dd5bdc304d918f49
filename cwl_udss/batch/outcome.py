# SPDX-License-Identifier: Apache-2.0
"""What the end of a step's job means: for the person, and for trying again."""

from __future__ import annotations

import enum
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cwl_udss.batch.poller import JobEnd
from cwl_udss.batch.systems.system import Cause, JobStatus, Resources, clock
from cwl_udss.machine.quantities import memory_text
from cwl_udss.steps.spec import StepEnding, StepResult


class Kind(enum.Enum):
    """Who has ended a step."""

    TOOL = "tool"
    """It has ended by itself, or at its own time limit: there is a result that counts."""
    REFUSED = "refused"
    """The node could not run it, or the batch system never did."""
    NOT_KEPT = "not kept"
    """The node could not pass on what it has said or left."""
    MEMORY = "memory"
    WALLTIME = "walltime"
    DELETED = "deleted"
    LOST = "lost"
    """Its node, or all trace of it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a step's job has ended."""

    kind: Kind
    message: str = ""
    """For the person, of all but Kind.TOOL: what has happened, and what to do."""
    result: StepResult | None = None


_KINDS = {
    Cause.WALLTIME: Kind.WALLTIME,
    Cause.MEMORY: Kind.MEMORY,
    Cause.DELETED: Kind.DELETED,
    Cause.NODE_LOST: Kind.LOST,
    Cause.NEVER_RAN: Kind.REFUSED,
}


@dataclass(frozen=True, kw_only=True)
class JobFacts:
    """What else matters for a judgement."""

    asked: Resources
    system: str
    """The batch system's name."""
    in_log: Cause | None
    """What the job's log says of the cause."""
    has_begun: bool
    """Whether the node has begun the step."""


def judge(end: JobEnd, facts: JobFacts) -> Outcome:
    """Say what the end of a job means."""
    result, status = end.result, end.status
    if result is not None and result.ending is StepEnding.REFUSED:
        return Outcome(kind=Kind.REFUSED, message=f"could not be run on {result.problem}")
    if result is not None and result.ending is StepEnding.NOT_KEPT:
        return Outcome(kind=Kind.NOT_KEPT, message=f"has run, but in vain, on {result.problem}")
    if result is not None and result.ending is StepEnding.OUT_OF_MEMORY:
        used = result.usage.memory_bytes or 0 if result.usage else 0
        return Outcome(kind=Kind.MEMORY, message=_over_memory("the kernel", used, facts.asked))
    if result is not None and result.ending is not StepEnding.TERMINATED:
        return Outcome(kind=Kind.TOOL, result=result)
    cause = status.cause if status else None
    if cause in (None, Cause.EXITED, Cause.UNKNOWN) and facts.in_log is not None:
        cause = facts.in_log
    kind = _KINDS.get(cause, Kind.LOST) if cause else Kind.LOST
    if status is not None and status.is_hopeless:
        kind = Kind.REFUSED
    return Outcome(kind=kind, message=_message(kind, status, facts))


def is_tried_again(outcome: Outcome, temporary_codes: Iterable[int], *, is_scaled: bool) -> bool:
    """Say whether trying again may help. What was asked too little for helps only with more."""
    if outcome.kind is Kind.TOOL:
        assert outcome.result is not None
        return outcome.result.exit_code in temporary_codes
    if outcome.kind in (Kind.MEMORY, Kind.WALLTIME):
        return is_scaled
    return outcome.kind is Kind.LOST


def scaled(resources: Resources, kind: Kind, factor: float) -> Resources:
    """Return what to ask for when trying again: more of what was not enough."""
    if kind is Kind.MEMORY and resources.memory is not None:
        return replace(resources, memory=math.ceil(resources.memory * factor))
    if kind is Kind.WALLTIME and resources.walltime is not None:
        return replace(resources, walltime=math.ceil(resources.walltime * factor))
    return resources


def _message(kind: Kind, status: JobStatus | None, facts: JobFacts) -> str:
    asked, system = facts.asked, facts.system
    words = f" ({status.words})" if status and status.words else ""
    if kind is Kind.MEMORY:
        used = status.memory_bytes or 0 if status else 0
        return _over_memory(system, used, asked)
    if kind is Kind.WALLTIME:
        limit = "" if asked.walltime is None else f" of {clock(asked.walltime)}"
        return (
            f"was killed by {system} at its walltime{limit}: raise its ToolTimeLimit or "
            "--udss-batch-walltime, or use --udss-retries with --udss-retry-scale"
        )
    if kind is Kind.DELETED:
        return f"was deleted from {system}, by you or an operator{words}"
    if kind is Kind.REFUSED:
        return f"was never run by {system}{words}: look at what it asks for"
    if status is None:
        return f"is lost: {system} knows nothing of its job, which has left no result"
    node = f" on {status.node}" if status.node else ""
    if not facts.has_begun and status.cause is Cause.EXITED:
        return (
            f"is lost: its job has ended{node} before it began the step{words}; does that node see "
            f"the run directory and {sys.executable} (cwl-udss doctor --batch)?"
        )
    code = "" if status.exit_code is None else f" with exit code {status.exit_code}"
    return (
        f"is lost: its job has ended{node}{code} and has left no result{words}; "
        "its log may say why, and --udss-retries tries again"
    )


def _over_memory(by: str, used: int, asked: Resources) -> str:
    amount = f"used {memory_text(used / (1 << 20))}" if used else "used more than it may"
    limit = "" if asked.memory is None else f" of {memory_text(asked.memory)} asked"
    return (
        f"was killed by {by}: {amount}{limit}; raise ramMin, or use --udss-retries with "
        "--udss-retry-scale"
    )
