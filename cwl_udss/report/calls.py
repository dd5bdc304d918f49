# SPDX-License-Identifier: Apache-2.0
"""What a workflow's steps were given and have made: what provenance needs beyond the records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cwl_udss.report.record import Status


@dataclass(frozen=True, kw_only=True)
class Call:
    """One use of a step of a workflow: of a tool, an expression, or another workflow."""

    number: int
    """Which of all, from 1 on, as they began."""
    parent: int | None
    """The call of the workflow that the step is in; None is the whole one."""
    path: str
    """The step, with those around it: `call/sort`."""
    status: Status
    started: float
    """In seconds since 1970, as `ended` is."""
    ended: float | None
    problem: str
    """Why it has failed, if that is known of no job."""
    inputs: Mapping[str, Any] | None
    """As CWL has them; None if there were too many to be kept, as of `outputs`."""
    outputs: Mapping[str, Any] | None

    def line(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps({**asdict(self), "status": self.status.value})


def read_call(facts: Mapping[str, Any]) -> Call:
    """Return what a line has. Raises TypeError, KeyError or ValueError if that is none."""
    return Call(**{**facts, "status": Status(facts["status"])})
