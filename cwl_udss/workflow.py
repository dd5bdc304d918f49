# SPDX-License-Identifier: Apache-2.0
"""A workflow that waits for its running steps before it gives up.

Under `--on-error continue`, cwltool ends a workflow in which a step has failed as soon as there is
no new job to make, although other steps still run: their outputs are lost, and what depends on them
never starts (WorkflowJob.job in cwltool 3.1 to 3.3; serially nothing can run at that moment).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import cwltool.workflow
from cwltool.context import RuntimeContext
from cwltool.utils import OutputCallbackType
from cwltool.workflow import Workflow
from cwltool.workflow_job import WorkflowJob


class PatientWorkflowJob(WorkflowJob):
    """Keeps a failure to itself while steps run."""

    def __init__(
        self, are_steps_running: Callable[[], bool], workflow: Workflow, context: RuntimeContext
    ) -> None:
        self._status = ""
        self._are_steps_running = are_steps_running
        self._is_final = context.on_error != "continue"
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

    def do_output_callback(self, final_output_callback: OutputCallbackType) -> None:
        """Hand the workflow's outputs and status on."""
        self._is_final = True
        super().do_output_callback(final_output_callback)


def wait_for_running_steps(are_steps_running: Callable[[], bool]) -> None:
    """Have cwltool make all its workflows such; the executor says whether steps run."""
    job = functools.partial(PatientWorkflowJob, are_steps_running)
    setattr(cwltool.workflow, WorkflowJob.__name__, job)
