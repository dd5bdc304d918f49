# SPDX-License-Identifier: Apache-2.0
"""All that a crate has: decided here, written by writing.py."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cwl_udss.report.calls import Call
from cwl_udss.report.crate import actions
from cwl_udss.report.crate.actions import add_action, iso_time
from cwl_udss.report.crate.data import Data
from cwl_udss.report.crate.document import CwlObject, Document, Side
from cwl_udss.report.crate.files import Addition, CrateFiles
from cwl_udss.report.crate.graph import Graph, Reference, fragment, path_id, reference, text
from cwl_udss.report.crate.profile import Profile
from cwl_udss.report.crate.splitting import TYPES, file_names, split
from cwl_udss.report.crate.workflow import DescribedWorkflow
from cwl_udss.report.record import Status, StepRecord
from cwl_udss.report.run import Run

_ROOT = "./"
_FOLDER, _INPUTS, _OUTPUTS = "workflow", "inputs", "outputs"
_CWLTOOL = "https://github.com/common-workflow-language/cwltool"
_ENGINE = "https://pypi.org/project/cwl-udss/"
_NO_LICENSE = "The author of the workflow names no license; who publishes this crate is to add one."


@dataclass(frozen=True, kw_only=True)
class Crate:
    """A crate that is to be written."""

    profile: Profile
    entities: Mapping[str, Mapping[str, Any]]
    parts: Sequence[str]
    """Those that are files and directories, by identifier; additions are among them."""
    additions: Sequence[Addition]


def make_crate(run: Run, document: CwlObject, profile: Profile, directory: Path) -> Crate:
    """Return what is to be in the crate of a run that has such a packed document."""
    return _Maker(run, Document(document), profile, directory).made()


class _Maker:
    def __init__(self, run: Run, document: Document, profile: Profile, directory: Path) -> None:
        self._run = run
        self._document = document
        self._profile = profile
        self._graph = Graph()
        self._root = self._graph.add(_ROOT, "Dataset")
        self._files = CrateFiles(directory)
        self._data = Data(self._graph, self._files, run.end.moved if run.end else {})
        names = file_names(document, _file_name(run.begin.workflow))
        self._title = names[document.main]
        contents = split(document, names, self._locate)
        texts = {name: f"{json.dumps(x, indent=2)}\n" for name, x in contents.items()}
        folder = self._files.add_texts(_FOLDER, texts)
        self._workflow = DescribedWorkflow(
            self._graph,
            document,
            {process: f"{folder}/{name}" for process, name in names.items()},
            profile.profile_types,
        )
        if TYPES in texts:
            types = self._graph.add(
                f"{folder}/{TYPES}",
                "File",
                name=TYPES,
                description="Types of parameters, which the workflow's documents import.",
                encodingFormat="application/yaml",
            )
            self._data.parts.append(types)
        self._agent = self._add_agent()
        self._actions: dict[int | None, Reference] = {}
        self._controls: dict[tuple[str, int | None], Reference] = {}

    def made(self) -> Crate:
        ran = self._used()
        self._workflow.describe(ran)
        whole = self._add_whole()
        if self._workflow.is_workflow:
            self._add_steps()
        engine = self._add_engine(whole)
        self._complete_root(whole, engine, has_steps=bool(ran))
        parts = [
            *(self._workflow.process(process)["@id"] for process in self._document.processes),
            *(part["@id"] for part in self._data.parts),
        ]
        return Crate(
            profile=self._profile,
            entities=self._graph.entities,
            parts=list(dict.fromkeys(parts)),
            additions=self._files.additions,
        )

    def _locate(self, default: CwlObject) -> str:
        """Where a file is, from the documents on, that is the default of a parameter. What is not
        in the crate is named only: nobody else has it where it is here."""
        identifier = self._data.one(default, _INPUTS)["@id"]
        if identifier.startswith("#"):
            return path_id(os.path.basename(str(default["location"])))
        return identifier if urlsplit(identifier).scheme else f"../{identifier}"

    def _used(self) -> set[str]:
        """What has been run of all that the document has."""
        paths = {call.path for call in self._run.calls} | {step.step for step in self._run.steps}
        found = (self._document.find(path) for path in paths)
        return {process for _, process in filter(None, found)}

    def _add_agent(self) -> Reference | None:
        agent = self._run.begin.agent
        if not any(agent.values()):
            return None
        orcid = agent.get("orcid", "")
        known = orcid if orcid.startswith("http") else f"https://orcid.org/{orcid}"
        return self._graph.add(
            text(known) if orcid else fragment("person"),
            "Person",
            name=text(agent.get("name") or orcid),
        )

    def _add_whole(self) -> Reference:
        """The run of the workflow, or of a tool alone."""
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
        return self._add_action(
            actions.Run(
                identifier="#run",
                name=f"Run of {self._name}",
                instrument=self._workflow.main,
                status=record.status if record and record.status is Status.CACHED else status,
                started=(times and times.started) or run.begin.started,
                ended=(times and times.ended) or (end.ended if end else None),
                problem=_why(failed, end.messages if end else ()),
                inputs=self._values(given, document.main, "inputs", _INPUTS),
                outputs=self._values(made, document.main, "outputs", _OUTPUTS),
                record=record,
            ),
            None,
        )

    def _add_steps(self) -> None:
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
        action = self._add_action(
            actions.Run(
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
            call.number,
        )
        self._control(step, call.parent, action)

    def _add_record(
        self, identifier: str, record: StepRecord, step: CwlObject, process: str
    ) -> None:
        if record.digest and not record.image:  # no driver has told of it
            record = replace(record, image=self._document.image(process))
        action = add_action(
            self._graph,
            actions.Run(
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

    def _add_action(self, run: actions.Run, number: int | None) -> Reference:
        action = add_action(self._graph, run, self._agent)
        self._actions[number] = action
        return action

    def _control(self, step: CwlObject, parent: int | None, action: Reference) -> None:
        """Note that a step of a workflow's run was this: of a scattered one it is many."""
        entity = self._workflow.step(step)
        key = (entity["@id"], parent)
        if key not in self._controls:
            self._controls[key] = self._graph.add(
                f"#control-{len(self._controls) + 1}",
                "ControlAction",
                name=f"Step {self._graph.entities[entity['@id']]['name']}",
                instrument=entity,
            )
        self._graph.link(self._controls[key], "object", action)
        self._graph.link(reference(_ROOT), "mentions", action)

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

    def _add_engine(self, whole: Reference) -> Reference:
        facts = self._run.begin.facts
        cwltool = self._graph.add(
            _CWLTOOL,
            "SoftwareApplication",
            name="cwltool",
            url=_CWLTOOL,
            version=facts.get("cwltool"),
        )
        engine = self._graph.add(
            _ENGINE,
            "SoftwareApplication",
            name="cwl-udss",
            url=_ENGINE,
            version=facts.get("cwl-udss"),
            softwareRequirements=cwltool,
        )
        if not self._controls:
            return engine
        return self._graph.add(
            "#engine-run",
            "OrganizeAction",
            name="Run of cwltool --udss",
            instrument=engine,
            agent=self._agent,
            startTime=iso_time(self._run.begin.started),
            endTime=iso_time(self._run.end.ended if self._run.end else None),
            object=list(self._controls.values()),
            result=whole,
        )

    @property
    def _name(self) -> str:
        main = self._document.processes[self._document.main]
        return text(main.get("label") or self._title)

    def _complete_root(self, whole: Reference, engine: Reference, *, has_steps: bool) -> None:
        names = {"process": "Process Run Crate"}
        if self._workflow.is_workflow:
            names["workflow"] = "Workflow Run Crate"
            if has_steps:
                names["provenance"] = "Provenance Run Crate"
        version = self._profile.version
        profiles = [
            self._add_profile(f"https://w3id.org/ro/wfrun/{kind}/{version}", name, version)
            for kind, name in names.items()
        ]
        if self._workflow.is_workflow:
            version = self._profile.workflow_ro_crate
            identifier = f"https://w3id.org/workflowhub/workflow-ro-crate/{version}"
            profiles.append(self._add_profile(identifier, "Workflow RO-Crate", version))
        begin, end = self._run.begin, self._run.end
        ended = end.ended if end else self._run.now
        root = self._graph.entities[_ROOT]
        root |= {
            "name": f"Run of {self._name}",
            "description": f"What cwltool --udss ran, began {iso_time(begin.started)}.",
            "datePublished": iso_time(ended),
            "license": self._add_license(),
            "conformsTo": profiles,
        }
        if self._workflow.is_workflow:
            root["mainEntity"] = self._workflow.main
        if self._agent:
            root["author"] = self._agent
        for mentioned in (whole, engine):
            self._graph.link(reference(_ROOT), "mentions", mentioned)

    def _add_profile(self, identifier: str, name: str, version: str) -> Reference:
        return self._graph.add(identifier, self._profile.profile_types, name=name, version=version)

    def _add_license(self) -> Reference:
        main = self._document.processes[self._document.main]
        named = next((str(main[key]) for key in main if key.endswith(("/license", ":license"))), "")
        if not named:
            return self._graph.add(
                "#license", "CreativeWork", name="No license", description=_NO_LICENSE
            )
        is_url = urlsplit(named).scheme in ("http", "https")
        identifier = named if is_url else f"https://spdx.org/licenses/{fragment(named)[1:]}"
        return self._graph.add(text(identifier), "CreativeWork", name=text(named))


def _file_name(workflow: str) -> str:
    """What the packed document is called."""
    name = unquote(os.path.basename(urlsplit(workflow).path)) if workflow else ""
    name = text(name).replace("/", "_")
    return name if name.endswith(".cwl") and name != ".cwl" else f"{name or 'workflow'}.cwl"


def _why(failed: StepRecord | None, messages: Sequence[str]) -> str:
    if failed is not None:
        return f"{failed.name}: {failed.problem or f'exit code {failed.ran.exit_code}'}"
    return messages[-1] if messages else ""
