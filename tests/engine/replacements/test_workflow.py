# SPDX-License-Identifier: Apache-2.0
"""A workflow that waits for its running steps."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.load_tool import load_tool
from cwltool.workflow import Workflow
from cwltool.workflow_job import WorkflowJob, object_from_state
from effort import growth

from cwl_udss.engine.inputs.checks import StepInputs
from cwl_udss.engine.replacements.workflow import PatientWorkflowJob

TOOL = {
    "class": "CommandLineTool",
    "inputs": {"numbers": "int[]?", "other": "File?"},
    "baseCommand": "true",
    "outputs": {"out": "stdout"},
}
WORKFLOW = {
    "cwlVersion": "v1.2",
    "class": "Workflow",
    "inputs": {"numbers": "int[]"},
    "steps": {
        "first": {"run": TOOL, "in": {}, "out": ["out"]},
        "second": {
            "run": TOOL,
            "in": {"numbers": "numbers", "other": "first/out"},
            "out": ["out"],
        },
    },
    "outputs": {"out": {"type": "File", "outputSource": "second/out"}},
}


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    path = tmp_path / "workflow.cwl"
    path.write_text(json.dumps(WORKFLOW))
    loaded = load_tool(str(path), LoadingContext())
    assert isinstance(loaded, Workflow)
    return loaded


def test_a_step_that_waits_costs_the_same_whatever_it_has_been_given(
    workflow: Workflow, tmp_path: Path
) -> None:
    """cwltool copies that each time that any step has ended."""
    prefix = f"{tmp_path}/"
    context = RuntimeContext({"tmpdir_prefix": prefix, "tmp_outdir_prefix": prefix})

    def prepare(job: Callable[..., WorkflowJob], size: int) -> Callable[[], object]:
        jobs: Any = job(workflow, context).job({"numbers": list(range(size))}, print, context)
        assert [next(jobs) is None for _ in range(3)] == [False, True, True]
        return functools.partial(next, jobs)

    patient = functools.partial(PatientWorkflowJob, lambda: True, StepInputs(object_from_state))
    assert growth(functools.partial(prepare, patient), 200) == 1
    assert growth(functools.partial(prepare, WorkflowJob), 200) > 3
