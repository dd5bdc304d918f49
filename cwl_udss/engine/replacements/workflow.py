# SPDX-License-Identifier: Apache-2.0
"""A workflow that runs its steps side by side: it waits for those that run before it gives up.

Under `--on-error continue`, cwltool ends a workflow in which a step has failed as soon as there is
no new job to make, although other steps still run: their outputs are lost, and what depends on them
never starts (WorkflowJob.job in cwltool 3.1 to 3.3; serially nothing can run at that moment).

And each time that any job has ended, of however many, it copies what is there of the inputs of each
step that waits (try_make_job). What is there is checked first (see inputs.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import cwltool.workflow
from cwltool.context import RuntimeContext
from cwltool.utils import JobsGeneratorType, OutputCallbackType
from cwltool.workflow import Workflow
from cwltool.workflow_job import WorkflowJob, WorkflowJobStep

from cwl_udss.engine.inputs.checks import StepInputs, check_inputs


class PatientWorkflowJob(WorkflowJob):
    """Keeps a failure to itself while steps run; looks at steps that wait when there is news."""

    def __init__(
        self,
        are_steps_running: Callable[[], bool],
        inputs: StepInputs,
        workflow: Workflow,
        context: RuntimeContext,
    ) -> None:
        self._status = ""
        self._inputs = inputs
        self._are_steps_running = are_steps_running
        self._is_final = context.on_error != "continue"
        self._changes = 0
        self._looked_at: dict[str, int] = {}
        super().__init__(workflow, context)

    @property
    def processStatus(self) -> str:
        """The status so far; cwltool stops making jobs when this is not `success`."""
        if not self._is_final and self._status != "success" and self._are_steps_running():
            return "success"
        return self._status

    @processStatus.setter
    def processStatus(self, status: str) -> None:
        if self._status != "permanentFail":  # that stays, whatever fails after it
            self._status = status

    def receive_output(self, *arguments: Any) -> None:
        """Note the outputs of a step."""
        self._changes += 1
        super().receive_output(*arguments)

    def try_make_job(
        self, step: WorkflowJobStep, callback: OutputCallbackType, context: RuntimeContext
    ) -> JobsGeneratorType:
        """Yield the jobs of a step, if what it needs is there: none if no output has come since it
        was not."""
        if self._looked_at.get(step.id) == self._changes:
            return
        self._inputs.step = step
        yield from super().try_make_job(step, callback, context)
        if not step.submitted and not step.completed:
            self._looked_at[step.id] = self._changes

    def do_output_callback(self, final_output_callback: OutputCallbackType) -> None:
        """Hand the workflow's outputs and status on."""
        self._is_final = True
        super().do_output_callback(final_output_callback)


def wait_for_running_steps(are_steps_running: Callable[[], bool]) -> None:
    """Have cwltool make all its workflows such; the executor says whether steps run."""
    job = functools.partial(PatientWorkflowJob, are_steps_running, check_inputs())
    setattr(cwltool.workflow, WorkflowJob.__name__, job)
