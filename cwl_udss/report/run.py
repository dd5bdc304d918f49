# SPDX-License-Identifier: Apache-2.0
"""A run as plain data: what was asked for, where, and what has come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cwl_udss.report.record import Status, StepRecord


@dataclass(frozen=True, kw_only=True)
class Node:
    """A step of the workflow that is no workflow itself."""

    path: str
    """With the steps that it is in: `call/sort`."""
    tool: str
    label: str
    """What its author says of it."""
    is_scattered: bool
    has_jobs: bool
    """Else it is an expression, which the driver evaluates."""
    before: tuple[str, ...]
    """Those whose outputs it is given."""


@dataclass(frozen=True, kw_only=True)
class Begin:
    """What is known of a run when its documents were read."""

    workflow: str
    """Its path, or URL."""
    label: str
    """What its author says of it."""
    command: tuple[str, ...]
    directory: str
    """Where that was typed."""
    run_directory: str
    """Of a run whose steps are jobs, else empty."""
    started: float
    host: str
    facts: Mapping[str, str]
    """Of the machine, and what runs on it: names and values, for people."""
    nodes: tuple[Node, ...]
    inputs: Mapping[str, Any]
    """As CWL has them."""
    captions: Mapping[str, str]
    """What the author says of the outputs."""


@dataclass(frozen=True, kw_only=True)
class End:
    """What has come of it."""

    ended: float
    exit_code: int
    outputs: Mapping[str, Any]
    """As CWL has them."""
    messages: tuple[str, ...]
    """Warnings and errors, the last ones."""
    inputs: Mapping[str, Any]
    """Again, with what is known of them by now."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """All of it. What has ended it may not be known: it goes on, or was killed."""

    begin: Begin
    steps: Sequence[StepRecord]
    end: End | None
    now: float

    @property
    def failed(self) -> StepRecord | None:
        """The step that has failed first."""
        failed = [step for step in self.steps if step.status is Status.FAILED]
        return min(failed, key=lambda step: step.ran.times.ended or 0.0, default=None)


def read_begin(facts: Mapping[str, Any]) -> Begin:
    """Return what dataclasses.asdict() has made plain. Raises TypeError or KeyError for anything
    else."""
    nodes = tuple(Node(**{**node, "before": tuple(node["before"])}) for node in facts["nodes"])
    return Begin(**{**facts, "command": tuple(facts["command"]), "nodes": nodes})


def read_end(facts: Mapping[str, Any]) -> End:
    """Return what dataclasses.asdict() has made plain. Raises TypeError or KeyError for anything
    else."""
    return End(**{**facts, "messages": tuple(facts["messages"])})
