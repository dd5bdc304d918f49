# SPDX-License-Identifier: Apache-2.0
"""How many jobs a scatter is going to have, told when cwltool knows it, which makes them one by
one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cwltool.workflow_job
from cwltool.process import Process
from cwltool.workflow_job import WorkflowJobStep

Note = Callable[[Process, int], None]
_METHODS = ("dotproduct_scatter", "flat_crossproduct_scatter", "nested_crossproduct_scatter")


def tell_of_scatters(note: Note) -> None:
    """Have `note` called with the tool, or workflow, of each step that is scattered, and with how
    many there are of it; not of a step that may be left out for some of them (`when`)."""
    functions = vars(cwltool.workflow_job)
    functions.update({name: _telling(note, name, functions[name]) for name in _METHODS})


def _telling(note: Note, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def scatter(
        step: WorkflowJobStep, job_order: Mapping[str, Any], keys: Sequence[str], *others: Any
    ) -> Any:
        # A nested one calls itself for all but the first of its keys.
        if "when" not in step.tool and (len(keys) == 1 or not name.startswith("nested")):
            sizes = [len(job_order[key]) for key in keys]
            number = sizes[0] if name.startswith("dot") else math.prod(sizes)
            note(step.step.embedded_tool, number)
        return original(step, job_order, keys, *others)

    return scatter
