# SPDX-License-Identifier: Apache-2.0
"""What the end of a job means, told to the person, and whether it is worth another try."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cwl_udss.batch.outcome import JobFacts, Kind, Outcome, is_tried_again, judge, scaled
from cwl_udss.batch.poller import JobEnd, look_interval, query_interval
from cwl_udss.batch.systems.system import Cause, JobState, JobStatus, Resources
from cwl_udss.steps.spec import StepEnding, StepResult

ASKED = Resources(cores=1, memory=4096, walltime=3600)
FACTS = JobFacts(asked=ASKED, system="PBS", in_log=None, has_begun=True)
RESULT = StepResult(
    ending=StepEnding.EXITED,
    exit_code=3,
    node="node1",
    started=0,
    ended=1,
    usage=None,
    outputs={},
)


def ended(cause: Cause, words: str = "", memory: int | None = None) -> JobStatus:
    return JobStatus(state=JobState.ENDED, cause=cause, words=words, memory_bytes=memory)


def test_a_result_counts_whatever_the_batch_system_says() -> None:
    end = JobEnd(result=RESULT, status=ended(Cause.DELETED))
    assert judge(end, FACTS) == Outcome(kind=Kind.TOOL, result=RESULT)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (ended(Cause.MEMORY, memory=4509715661), Kind.MEMORY, "used 4.2 GB of 4 GB asked"),
        (ended(Cause.WALLTIME), Kind.WALLTIME, "at its walltime of 01:00:00"),
        (ended(Cause.DELETED, "by bob"), Kind.DELETED, "(by bob)"),
        (ended(Cause.NODE_LOST, "NODE_FAIL"), Kind.LOST, "(NODE_FAIL)"),
        (ended(Cause.NEVER_RAN), Kind.REFUSED, "was never run by PBS"),
        (ended(Cause.EXITED), Kind.LOST, "has left no result"),
        (None, Kind.LOST, "PBS knows nothing of its job"),
        (
            JobStatus(state=JobState.WAITING, words="Can Never Run: mem", is_hopeless=True),
            Kind.REFUSED,
            "(Can Never Run: mem)",
        ),
    ],
)
def test_who_has_ended_a_step_without_a_result(
    status: JobStatus | None, kind: Kind, words: str
) -> None:
    for result in (None, replace(RESULT, ending=StepEnding.TERMINATED)):
        outcome = judge(JobEnd(result=result, status=status), FACTS)
        assert outcome.kind is kind
        assert words in outcome.message
        assert outcome.result is None


def test_what_only_the_log_knows() -> None:
    facts = replace(FACTS, in_log=Cause.MEMORY)
    assert judge(JobEnd(result=None, status=ended(Cause.EXITED)), facts).kind is Kind.MEMORY
    assert judge(JobEnd(result=None, status=ended(Cause.WALLTIME)), facts).kind is Kind.WALLTIME


def test_a_node_that_does_not_see_the_run() -> None:
    facts = replace(FACTS, has_begun=False)
    outcome = judge(JobEnd(result=None, status=ended(Cause.EXITED)), facts)
    assert "doctor --batch" in outcome.message


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (StepEnding.REFUSED, "could not be run on node1: no room"),
        (StepEnding.NOT_KEPT, "has run, but in vain, on node1: no room"),
    ],
)
def test_a_node_that_could_not_do_its_part(ending: StepEnding, words: str) -> None:
    result = replace(RESULT, ending=ending, problem="node1: no room")
    outcome = judge(JobEnd(result=result, status=ended(Cause.EXITED)), FACTS)
    assert (outcome.message, outcome.result) == (words, None)


@pytest.mark.parametrize(
    ("kind", "is_scaled", "again"),
    [
        (Kind.LOST, False, True),
        (Kind.MEMORY, False, False),
        (Kind.MEMORY, True, True),
        (Kind.WALLTIME, True, True),
        (Kind.DELETED, True, False),
        (Kind.REFUSED, True, False),
        (Kind.NOT_KEPT, True, False),
    ],
)
def test_what_is_tried_again(kind: Kind, is_scaled: bool, again: bool) -> None:
    assert is_tried_again(Outcome(kind=kind), [3], is_scaled=is_scaled) is again


def test_only_temporary_failures_of_tools_are_tried_again() -> None:
    outcome = Outcome(kind=Kind.TOOL, result=RESULT)
    assert is_tried_again(outcome, [3], is_scaled=False)
    assert not is_tried_again(outcome, [4], is_scaled=True)


def test_more_of_what_was_not_enough() -> None:
    assert scaled(ASKED, Kind.MEMORY, 1.5) == replace(ASKED, memory=6144)
    assert scaled(ASKED, Kind.WALLTIME, 2) == replace(ASKED, walltime=7200)
    assert scaled(ASKED, Kind.LOST, 2) == ASKED


def test_the_batch_system_is_asked_the_more_seldom_the_more_there_is() -> None:
    waits = [query_interval(jobs, cost=0.02) for jobs in (1, 100, 500, 1000, 10_000)]
    assert waits == sorted(waits)
    assert waits[0] >= 1  # within a second, PBS answers late on purpose
    assert waits[-1] <= 60
    assert query_interval(10, cost=2.0) >= 30


def test_looks_are_the_more_seldom_the_longer_nothing_happens() -> None:
    wait, waits = 0.5, []
    for _ in range(100):
        wait = look_interval(wait, has_news=False, cost=0.001)
        waits.append(wait)
    assert waits == sorted(waits)
    assert waits[-1] == 5.0
    assert look_interval(wait, has_news=True, cost=0.001) == 0.5
    assert look_interval(0.5, has_news=True, cost=1.0) == 10.0
