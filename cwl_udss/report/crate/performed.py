# SPDX-License-Identifier: Apache-2.0
"""What was done in a run, as entities: the whole, and each use of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cwl_udss.report.calls import Call
from cwl_udss.report.crate.actions import Use, add_action
from cwl_udss.report.crate.data import Data
from cwl_udss.report.crate.document import CwlObject, Document, Side
from cwl_udss.report.crate.files import INPUTS, OUTPUTS
from cwl_udss.report.crate.graph import ROOT, Graph, Reference
from cwl_udss.report.crate.workflow import DescribedWorkflow
from cwl_udss.report.record import Status, StepRecord
from cwl_udss.report.run import Run


class Performed:
    """Gives the actions of a run entities."""

    def __init__(
        self,
        graph: Graph,
        run: Run,
        document: Document,
        workflow: DescribedWorkflow,
        data: Data,
        *,
        agent: Reference | None,
    ) -> None:
        """`agent` has had it run."""
        self._graph = graph
        self._run = run
        self._document = document
        self._workflow = workflow
        self._data = data
        self._agent = agent
        self.controls: dict[tuple[str, int | None], Reference] = {}
        """What has controlled steps, by the step and the run of its workflow."""

    def used(self) -> set[str]:
        """Return what has been run of all that the document has."""
        paths = {call.path for call in self._run.calls} | {step.step for step in self._run.steps}
        found = (self._document.find(path) for path in paths)
        return {process for _, process in filter(None, found)}

    def add_whole(self, name: str) -> Reference:
        """Add the run of the workflow, or of a tool alone."""
        run, document = self._run, self._document
        end = run.end
        given = end.inputs if end else run.begin.inputs
        made = end.outputs if end else {}
        record = None if self._workflow.is_workflow or not run.steps else run.steps[0]
        times = record.ran.times if record else None
        status = Status.RUNNING
        if end is not None:
            status = Status.COMPLETED if end.exit_code == 0 else Status.FAILED
        failed = run.failed
        return add_action(
            self._graph,
            Use(
                identifier="#run",
                name=f"Run of {name}",
                instrument=self._workflow.main,
                status=record.status if record and record.status is Status.CACHED else status,
                started=(times and times.started) or run.begin.started,
                ended=(times and times.ended) or (end.ended if end else None),
                problem=_why(failed, end.messages if end else ()),
                inputs=self._values(given, document.main, "inputs", INPUTS),
                outputs=self._values(made, document.main, "outputs", OUTPUTS),
                record=record,
            ),
            self._agent,
        )

    def add_steps(self) -> None:
        """Add each use of a step, and what has controlled it."""
        records = {step.call: step for step in self._run.steps if step.call is not None}
        for call in sorted(self._run.calls, key=lambda call: call.number):
            found = self._document.find(call.path)
            if found is not None:
                self._add_call(call, *found, records.get(call.number))
        known = {call.number for call in self._run.calls}
        for number, record in enumerate(self._run.steps):
            found = self._document.find(record.step)
            is_begun = record.status is not Status.SUBMITTED
            if found is not None and record.call not in known and is_begun:  # of another driver
                self._add_record(f"#job-{number + 1}", record, *found)

    def _add_call(
        self, call: Call, step: CwlObject, process: str, record: StepRecord | None
    ) -> None:
        times = record.ran.times if record else None
        action = add_action(
            self._graph,
            Use(
                identifier=f"#action-{call.number}",
                name=f"Run of {record.name if record else call.path}",
                instrument=self._workflow.process(process),
                status=record.status if record else call.status,
                started=times.started if times else call.started,
                ended=times.ended if times else call.ended,
                problem=call.problem,
                inputs=self._values(call.inputs or {}, process, "inputs"),
                outputs=self._values(call.outputs or {}, process, "outputs"),
                record=record,
            ),
            self._agent,
        )
        self._control(step, call.parent, action)

    def _add_record(
        self, identifier: str, record: StepRecord, step: CwlObject, process: str
    ) -> None:
        if record.digest and not record.image:  # no driver has told of it
            record = replace(record, image=self._document.image(process))
        action = add_action(
            self._graph,
            Use(
                identifier=identifier,
                name=f"Run of {record.name}",
                instrument=self._workflow.process(process),
                status=record.status,
                started=record.ran.times.started,
                ended=record.ran.times.ended,
                inputs=[],
                outputs=[],
                record=record,
            ),
            self._agent,
        )
        self._control(step, None, action)

    def _control(self, step: CwlObject, parent: int | None, action: Reference) -> None:
        """Note that a step of a workflow's run was this: of a scattered one it is many."""
        entity = self._workflow.step(step)
        key = (entity["@id"], parent)
        if key not in self.controls:
            self.controls[key] = self._graph.add(
                f"#control-{len(self.controls) + 1}",
                "ControlAction",
                name=f"Step {self._graph.entities[entity['@id']]['name']}",
                instrument=entity,
            )
        self._graph.link(self.controls[key], "object", action)
        self._graph.link(ROOT, "mentions", action)

    def _values(
        self, values: Mapping[str, Any], process: str, side: Side, room: str = ""
    ) -> list[Reference]:
        parameters = self._document.parameters(process, side)
        found: dict[str, Reference] = {}
        for name, value in values.items():
            if name in parameters:  # others are for expressions of the step
                parameter = self._workflow.parameter(side, str(parameters[name]["id"]))
                for entity in self._data.entities(value, name, parameter, room):
                    found[entity["@id"]] = entity
        return list(found.values())


def _why(failed: StepRecord | None, messages: Sequence[str]) -> str:
    if failed is not None:
        return f"{failed.name}: {failed.problem or f'exit code {failed.ran.exit_code}'}"
    return messages[-1] if messages else ""
