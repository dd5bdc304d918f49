# SPDX-License-Identifier: Apache-2.0
"""All that a crate has: decided here, written by writing.py."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cwl_udss.report.crate.actions import iso_time
from cwl_udss.report.crate.data import Data
from cwl_udss.report.crate.document import CwlObject, Document
from cwl_udss.report.crate.files import INPUTS, Addition, CrateFiles
from cwl_udss.report.crate.graph import ROOT, Graph, Reference, path_id, text, url_id
from cwl_udss.report.crate.performed import Performed
from cwl_udss.report.crate.profile import Profile
from cwl_udss.report.crate.splitting import TYPES, file_names, split
from cwl_udss.report.crate.workflow import DescribedWorkflow
from cwl_udss.report.run import Run

_FOLDER = "workflow"
_CWLTOOL = "https://github.com/common-workflow-language/cwltool"
_ENGINE = "https://pypi.org/project/cwl-udss/"
_SPDX = re.compile("[A-Za-z0-9.+-]+")
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
        self._graph.add(ROOT["@id"], "Dataset")
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
        self._agent = _add_agent(self._graph, run.begin.agent)
        self._performed = Performed(
            self._graph, run, document, self._workflow, self._data, agent=self._agent
        )

    def made(self) -> Crate:
        ran = self._performed.used()
        self._workflow.describe(ran)
        whole = self._performed.add_whole(self._name)
        if self._workflow.is_workflow:
            self._performed.add_steps()
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
        identifier = self._data.one(default, INPUTS)["@id"]
        if identifier.startswith("#"):
            return path_id(os.path.basename(str(default["location"])))
        return identifier if urlsplit(identifier).scheme else f"../{identifier}"

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
        if not self._performed.controls:
            return engine
        return self._graph.add(
            "#engine-run",
            "OrganizeAction",
            name="Run of cwltool --udss",
            instrument=engine,
            agent=self._agent,
            startTime=iso_time(self._run.begin.started),
            endTime=iso_time(self._run.end.ended if self._run.end else None),
            object=list(self._performed.controls.values()),
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
        root = self._graph.entities[ROOT["@id"]]
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
            self._graph.link(ROOT, "mentions", mentioned)

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
        if not is_url and not _SPDX.fullmatch(named):
            return self._graph.add("#license", "CreativeWork", name=text(named))
        identifier = named if is_url else f"https://spdx.org/licenses/{named}"
        return self._graph.add(url_id(identifier), "CreativeWork", name=text(named))


def _add_agent(graph: Graph, agent: Mapping[str, str]) -> Reference | None:
    """Add who has had it run, if they say so."""
    orcid, name = agent.get("orcid", ""), agent.get("name", "")
    if not orcid and not name:
        return None
    known = orcid if orcid.startswith("http") else f"https://orcid.org/{orcid}"
    return graph.add(url_id(known) if orcid else "#person", "Person", name=text(name or orcid))


def _file_name(workflow: str) -> str:
    """What the packed document is called."""
    name = unquote(os.path.basename(urlsplit(workflow).path)) if workflow else ""
    name = text(name).replace("/", "_")
    return name if name.endswith(".cwl") and name != ".cwl" else f"{name or 'workflow'}.cwl"
