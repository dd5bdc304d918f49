# SPDX-License-Identifier: Apache-2.0
"""A workflow as entities: its tools, steps, parameters, and what is connected."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import unquote

from cwl_udss.report.crate.document import CwlObject, Document, Side, listed, parameter_type, short
from cwl_udss.report.crate.graph import Graph, Reference, fragment, path_id, reference, text

_PARAMETER_PROFILE = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
_SOURCE = "SoftwareSourceCode"
_WORKFLOW = ("SoftwareSourceCode", "ComputationalWorkflow")


class DescribedWorkflow:
    """Gives a packed document, and all that is in it, entities."""

    def __init__(
        self,
        graph: Graph,
        document: Document,
        files: Mapping[str, str],
        profile_types: tuple[str, ...],
    ) -> None:
        """`files` are where its processes are in the crate."""
        self._graph = graph
        self._document = document
        self._numbers = itertools.count(1)
        self._files = {process: path_id(file) for process, file in files.items()}
        self._inputs = {
            str(entry["id"])
            for process in document.processes
            for entry in document.parameters(process, "inputs").values()
        }
        self._owners = {
            str(entry["id"]): process
            for process in document.processes
            for entry in (
                *document.parameters(process, "inputs").values(),
                *document.parameters(process, "outputs").values(),
                *document.steps(process).values(),
            )
        }
        self._parameter_profile = graph.add(
            _PARAMETER_PROFILE, profile_types, name="FormalParameter", version="1.0-RELEASE"
        )
        self.language = graph.add(
            "https://w3id.org/workflowhub/workflow-ro-crate#cwl",
            "ComputerLanguage",
            name="Common Workflow Language",
            alternateName="CWL",
            identifier=reference(f"https://w3id.org/cwl/{document.version or 'v1.2'}/"),
            url=reference("https://www.commonwl.org/"),
            version=document.version,
        )
        self.is_workflow = document.processes[document.main].get("class") == "Workflow"

    @property
    def main(self) -> Reference:
        """What was run."""
        return self.process(self._document.main)

    def process(self, identifier: str) -> Reference:
        """A workflow, a tool or an expression."""
        return reference(self._files[identifier])

    def parameter(self, side: Side, identifier: str) -> Reference:
        """A formal parameter."""
        part = self._part(identifier)
        is_twice = side == "outputs" and identifier in self._inputs
        return reference(f"{part}/output" if is_twice else part)

    def step(self, step: CwlObject) -> Reference:
        """A step of a workflow."""
        return reference(self._part(str(step["id"])))

    def describe(self, ran: Collection[str]) -> None:
        """Add all entities. Parts of a workflow are those of its tools that have been run: of each
        there must be an action."""
        for identifier, process in self._document.processes.items():
            self._add_process(identifier, process, ran)
        for identifier in self._document.processes:
            self._connect(identifier)

    def _add_process(self, identifier: str, process: CwlObject, ran: Collection[str]) -> None:
        document = self._document
        is_workflow = process.get("class") == "Workflow"
        steps = document.in_order(identifier) if is_workflow else []
        types = (*(_WORKFLOW if is_workflow else (_SOURCE,)), *(("HowTo",) if steps else ()))
        runs = [document.run_of(step) for step in steps]
        self._graph.add(
            self.process(identifier)["@id"],
            ("File", *types),
            name=_name(process) or unquote(self._files[identifier]).rpartition("/")[2],
            description=_description(process),
            programmingLanguage=self.language,
            encodingFormat="application/cwl",
            input=self._parameters(identifier, "inputs"),
            output=self._parameters(identifier, "outputs"),
            step=[self.step(step) for step in steps],
            hasPart=[self.process(run) for run in dict.fromkeys(runs) if run in ran],
        )
        for position, step in enumerate(steps):
            self._graph.add(
                self.step(step)["@id"],
                "HowToStep",
                name=_name(step) or text(short(str(step["id"]))),
                description=_description(step),
                position=str(position),
                workExample=self.process(document.run_of(step)),
            )

    def _parameters(self, process: str, side: Side) -> list[Reference]:
        return [
            self._add_parameter(side, name, entry)
            for name, entry in self._document.parameters(process, side).items()
        ]

    def _add_parameter(self, side: Side, name: str, entry: CwlObject) -> Reference:
        kind = parameter_type(entry)
        default = entry.get("default")
        return self._graph.add(
            self.parameter(side, str(entry["id"]))["@id"],
            "FormalParameter",
            name=text(name),
            description=_name(entry) or _description(entry),
            additionalType=kind.names[0] if len(kind.names) == 1 else list(kind.names),
            conformsTo=self._parameter_profile,
            encodingFormat=[text(x) for x in listed(entry.get("format")) if isinstance(x, str)],
            valueRequired=str(kind.is_required),
            multipleValues="True" if kind.is_multiple else None,
            valuePattern="|".join(map(text, kind.symbols)),
            defaultValue=text(default) if isinstance(default, bool | int | float | str) else None,
        )

    def _connect(self, process: str) -> None:
        for step, source, target in self._document.connections(process):
            connection = self._graph.add(
                f"#connection-{next(self._numbers)}",
                "ParameterConnection",
                sourceParameter=self.parameter(*source),
                targetParameter=self.parameter(*target),
            )
            receiver = self.process(process) if step is None else self.step(step)
            self._graph.link(receiver, "connection", connection)

    def _part(self, identifier: str) -> str:
        owner = self._files[self._owners[identifier]]
        return f"{owner}{fragment(identifier.rpartition('#')[2])}"


def _name(described: CwlObject) -> str:
    return _joined(described.get("label"))


def _description(described: CwlObject) -> str:
    return _joined(described.get("doc"))


def _joined(said: Any) -> str:
    return "\n".join(text(part) for part in listed(said))
