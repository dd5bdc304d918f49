# SPDX-License-Identifier: Apache-2.0
"""What stands in for functions of cwltool and ruamel.yaml does what these do, and does less for it.

Where one of theirs has learnt to do it itself, the test of its growth fails, and ours can go.
"""

from __future__ import annotations

import copy
import functools
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cwltool.process
import cwltool.workflow_job
import pytest
from cwltool.command_line_tool import CommandLineTool
from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.executors import JobExecutor
from cwltool.workflow_job import ReceiveScatterOutput, WorkflowJob, WorkflowJobStep
from effort import LINEAR, QUADRATIC, growth
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from cwl_udss.engine.outputs.names import UniqueNames
from cwl_udss.engine.replacements.scatter import copy_sequence, scatter_jobs, straighten_cwltool


def test_cwltool_finds_ours_where_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    users: list[tuple[Any, str]] = [
        (CommandLineTool.job, "uniquename"),
        (WorkflowJob.__init__, "uniquename"),
        (WorkflowJobStep.__init__, "uniquename"),
        (cwltool.workflow_job.dotproduct_scatter, "parallel_steps"),
        (cwltool.workflow_job.flat_crossproduct_scatter, "parallel_steps"),
        (cwltool.workflow_job.nested_crossproduct_scatter, "parallel_steps"),
        (JobExecutor.execute, "relocateOutputs"),
    ]
    for function, name in users:  # to be put back at the end
        monkeypatch.setitem(function.__globals__, name, function.__globals__[name])
    monkeypatch.setattr(CommentedSeq, "__deepcopy__", CommentedSeq.__deepcopy__)
    straighten_cwltool()
    for function, name in users:
        assert name in function.__code__.co_names
        assert function.__globals__[name].__module__.startswith("cwl_udss.")


STEMS = st.lists(st.sampled_from(["a", "a_2", "a_2_2", "a_3", "b"]), max_size=30)


@given(STEMS, st.sets(st.sampled_from(["a", "a_2", "a_4", "b_2"])))
def test_names_are_cwltools(stems: list[str], taken: set[str]) -> None:
    theirs = [cwltool.process.uniquename(stem, names) for names in [set(taken)] for stem in stems]
    unique_name = UniqueNames(set(taken))
    assert [unique_name(stem) for stem in stems] == theirs


def test_each_name_costs_the_same() -> None:
    def ours(size: int) -> Callable[[], object]:
        unique_name = UniqueNames(set())
        return lambda: [unique_name("a") for _ in range(size)]

    def theirs(size: int) -> Callable[[], object]:
        names: set[str] = set()
        return lambda: [cwltool.process.uniquename("a", names) for _ in range(size)]

    assert growth(ours, 50) < LINEAR
    assert growth(theirs, 50) > QUADRATIC


DOCUMENT = """
# before
- 1
- [2, {three: 4, five: [6, 7]}]  # behind
- &anchor {eight: 9}
- *anchor
- ten
"""


def yaml_positions(value: Any) -> Any:
    """A YAML value with where it was, throughout."""
    if isinstance(value, dict):
        return type(value), value.lc.data, {k: yaml_positions(v) for k, v in value.items()}
    if isinstance(value, list):
        return type(value), value.lc.data, value.ca.items, [yaml_positions(v) for v in value]
    return value


def test_a_copied_sequence_is_ruamels() -> None:
    original = YAML().load(DOCUMENT)
    ours, theirs = copy_sequence(original, {}), copy.deepcopy(original)
    assert ours == theirs == original
    assert repr(yaml_positions(ours)) == repr(yaml_positions(theirs))
    assert ours[2] is ours[3]
    assert ours[1] is not original[1]
    assert ours.lc.data is not original.lc.data


def test_a_copied_sequence_may_hold_itself() -> None:
    sequence = CommentedSeq()
    sequence.append(sequence)
    copied = copy_sequence(sequence, {})
    assert copied[0] is copied


def test_each_item_of_a_sequence_costs_the_same() -> None:
    def sequence(size: int) -> CommentedSeq:
        loaded = YAML().load(str(list(range(size))))
        assert isinstance(loaded, CommentedSeq)
        return loaded

    def ours(size: int) -> Callable[[], object]:
        return functools.partial(copy_sequence, sequence(size), {})

    def theirs(size: int) -> Callable[[], object]:
        return functools.partial(copy.deepcopy, sequence(size))

    assert growth(ours, 25) < LINEAR
    assert growth(theirs, 25) > QUADRATIC


# What a step of a scatter does: in turn, it gives some jobs, and waits until they have ended.
ENDS_AT_ONCE, ENDS_LATER, WORKFLOW, ERROR = "ends at once", "ends later", "workflow", "error"
STAGE = st.lists(st.sampled_from([ENDS_AT_ONCE, ENDS_LATER, WORKFLOW]), max_size=3)


@dataclass(frozen=True)
class Script:
    """What one step of a scatter does, and how it ends; a patient one not before all others' jobs
    have (as PatientWorkflowJob)."""

    stages: tuple[tuple[str, ...], ...]
    status: str
    is_patient: bool = False


SCRIPTS = st.one_of(
    st.builds(
        Script,
        st.lists(STAGE.map(tuple), max_size=3).map(tuple),
        st.sampled_from(["success", "skipped", "temporaryFail", "permanentFail"]),
        st.booleans(),
    ),
    st.just(Script(((ERROR,),), "success")),
)


@dataclass(eq=False)
class Job:
    """As cwltool's, a job tells a callback that it has ended."""

    name: str
    kind: str
    output_callback: Callable[..., None] | None = None


class Play:
    """A scatter over scatters, run to its end by an executor that jobs end for in any order."""

    def __init__(self, jobs_of: Callable[..., Any], on_error: str, seed: int) -> None:
        self._jobs_of = jobs_of
        self._context = RuntimeContext({"on_error": on_error})
        self._random = random.Random(seed)
        self._running: list[Job] = []
        self.trace: list[str] = []
        self.outcome: list[Any] = []

    def scatter(self, index: str, parts: Any, receive: Callable[..., None]) -> Iterator[Any]:
        """The jobs of the scatter over `parts`, each of which is a script or has parts itself."""
        receiver = ReceiveScatterOutput(receive, {"out": [None] * len(parts)}, len(parts))
        steps: list[Any] = []
        for number, part in enumerate(parts):
            inner = functools.partial(receiver.receive_scatter_output, number)
            make = self.step if isinstance(part, Script) else self.scatter
            steps.append(make(f"{index}.{number}", part, inner))
        receiver.setTotal(len(parts), steps)
        return iter(self._jobs_of(steps, receiver, self._context))

    def step(self, index: str, script: Script, receive: Callable[..., None]) -> Iterator[Any]:
        """The jobs of one step; as a tool's, a single last one hands its outcome on itself."""
        running: set[Job] = set()
        outcome = ({"out": index}, script.status)

        def end(job: Job, hands_on: bool, *_: Any) -> None:
            running.discard(job)
            if hands_on:
                receive(*outcome)

        hands_on = False
        for number, stage in enumerate(script.stages):
            for kind in stage:
                if kind == ERROR:
                    raise WorkflowException(f"no job {index}.{number}")
                job = Job(f"{index}.{number}", kind)
                if kind != WORKFLOW:
                    running.add(job)
                    is_last = number + 1 == len(script.stages) and len(stage) == 1
                    hands_on = is_last and not script.is_patient
                    job.output_callback = functools.partial(end, job, hands_on)
                yield job
            while running:
                yield None
        while script.is_patient and self._running:
            yield None
        if not hands_on:
            receive(*outcome)

    def run(self, parts: Any) -> None:
        """Run it as executors do: to the end, or until nothing runs and no job comes."""
        for job in self.scatter("s", parts, lambda *outcome: self.outcome.append(outcome)):
            self.trace.append(job.name if job else "none")
            if job is None and not self._running:
                break
            if job is None:
                self._end_one()
            elif job.kind == ENDS_AT_ONCE:
                self._end(job)
            elif job.kind == ENDS_LATER:
                self._running.append(job)
                while self._running and self._random.random() < 0.3:
                    self._end_one()

    def _end_one(self) -> None:
        self._end(self._running.pop(self._random.randrange(len(self._running))))

    def _end(self, job: Job) -> None:
        self.trace.append(f"end of {job.name}")
        assert job.output_callback is not None
        job.output_callback({}, "success")


def played(jobs_of: Callable[..., Any], parts: Any, on_error: str, seed: int) -> Any:
    run = Play(jobs_of, on_error, seed)
    run.run(copy.deepcopy(parts))
    return run.trace, run.outcome


# The first step fails between the jobs of the second.
FAILS_MEANWHILE = [
    Script(((ENDS_LATER,),), "permanentFail"),
    Script(((ENDS_LATER, ENDS_LATER),), "success"),
]
# All jobs have ended when the last is given, for which the second step has waited.
ALL_END_MEANWHILE = [
    Script(((ENDS_LATER,),), "success"),
    Script((), "success", is_patient=True),
    Script(((ENDS_LATER,), (ENDS_LATER,)), "success"),
]
SCATTERS = st.lists(st.one_of(SCRIPTS, st.lists(SCRIPTS, max_size=4)), max_size=5)


@settings(max_examples=500, deadline=None)
@given(SCATTERS, st.sampled_from(["stop", "continue"]), st.integers(0, 1000))
@example(FAILS_MEANWHILE, "stop", 7)
@example(ALL_END_MEANWHILE, "stop", 663)
def test_jobs_come_as_from_cwltool(parts: Any, on_error: str, seed: int) -> None:
    ours = played(scatter_jobs, parts, on_error, seed)
    assert ours == played(cwltool.workflow_job.parallel_steps, parts, on_error, seed)


@settings(deadline=None)
@given(SCATTERS, st.integers(0, 1000), st.integers(1, 4))
def test_a_paced_scatter_has_the_same_outputs(parts: Any, seed: int, most: int) -> None:
    """The status is that of the last step that has not succeeded, which may be another."""
    paced = functools.partial(scatter_jobs, most=most)
    (_, ours), (_, theirs) = (played(f, parts, "continue", seed) for f in (paced, scatter_jobs))
    assert [outputs for outputs, _ in ours] == [outputs for outputs, _ in theirs]


def test_a_paced_scatter_has_few_jobs_at_once() -> None:
    parts = [Script(((ENDS_LATER,), (ENDS_LATER,)), "success")] * 10
    paced = functools.partial(scatter_jobs, most=3)
    trace, _ = played(paced, parts, "stop", 0)
    running = itertools.accumulate(
        -1 if event.startswith("end") else event.startswith("s") for event in trace
    )
    assert max(running) == 3


@pytest.mark.parametrize("kind", [ENDS_AT_ONCE, ENDS_LATER])
def test_each_job_of_a_scatter_costs_the_same(kind: str) -> None:
    def prepare(jobs_of: Callable[..., Any], size: int) -> Callable[[], object]:
        parts = [Script(((kind,), (kind,)), "success")] * size
        return functools.partial(Play(jobs_of, "stop", 0).run, parts)

    assert growth(functools.partial(prepare, scatter_jobs), 50) < LINEAR
    theirs = functools.partial(prepare, cwltool.workflow_job.parallel_steps)
    assert growth(theirs, 50) > QUADRATIC
