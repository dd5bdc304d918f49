# SPDX-License-Identifier: Apache-2.0
"""A packed document as files, one for each workflow, tool and expression: so that each is what the
profile and RO-Crate 1.3 want such a thing to be, a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cwl_udss.report.crate.document import CwlObject, Document, listed
from cwl_udss.report.crate.files import safe
from cwl_udss.report.crate.graph import path_id

_OF_DOCUMENTS = ("cwlVersion", "$namespaces", "$schemas")
_OWN_TYPES = "SchemaDefRequirement"
_SUFFIX = ".cwl"
TYPES = "types.yml"
"""The file that has those of all documents, if they have any."""


def file_names(document: Document, main: str) -> dict[str, str]:
    """Return what the file of each process is called; `main` is of what was run."""
    names: dict[str, str] = {document.main: main}
    taken = {main.lower()}
    for identifier in document.processes:
        if identifier not in names:
            stem = identifier.removeprefix("#").removesuffix("/run").rpartition("/")[2]
            stem = safe(stem).removesuffix(_SUFFIX)
            name, number = f"{stem}{_SUFFIX}", 1
            while name.lower() in taken:
                number += 1
                name = f"{stem}_{number}{_SUFFIX}"
            taken.add(name.lower())
            names[identifier] = name
    return names


def split(
    document: Document, names: Mapping[str, str], locate: Callable[[CwlObject], str]
) -> dict[str, Any]:
    """Return what is in each file, by its name. Files that are defaults are where `locate` says."""
    of_all = {name: document.content[name] for name in _OF_DOCUMENTS if name in document.content}
    # Files of this machine; they are of use to editors only.
    schemas = [x for x in listed(of_all.pop("$schemas", None)) if not str(x).startswith("file:")]
    of_all |= {"$schemas": schemas} if schemas else {}
    splitter = _Splitter(document, names, locate)
    made: dict[str, Any] = {
        names[identifier]: {**of_all, **splitter.alone(process)}
        for identifier, process in document.processes.items()
    }
    if splitter.types:
        made[TYPES] = list(splitter.types.values())
    return made


class _Splitter:
    def __init__(
        self, document: Document, names: Mapping[str, str], locate: Callable[[CwlObject], str]
    ) -> None:
        self._document = document
        self._names = names
        self._locate = locate
        # Of one type in two files two would be made, which do not go together.
        self.types = {
            str(kind["name"]): kind
            for wish in _mappings(document.content)
            if wish.get("class") == _OWN_TYPES
            for kind in listed(wish.get("types"))
            if isinstance(kind, Mapping) and "name" in kind
        }

    def alone(self, process: CwlObject) -> dict[str, Any]:
        """A process, and no other with it."""
        made: dict[str, Any] = {
            name: self._plain(part) for name, part in process.items() if name != "steps"
        }
        if "steps" in process:
            made["steps"] = [
                {**self._plain({**step, "run": None}), "run": self._run(step)}
                for step in listed(process["steps"])
            ]
        return made

    def _run(self, step: CwlObject) -> str:
        run = self._document.run_of(step)
        return path_id(self._names[run]) if run in self._names else run

    def _plain(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._plain(part) for part in value]
        if isinstance(value, str) and value in self.types:
            return f"{TYPES}{value}"
        if not isinstance(value, Mapping):
            return value
        if value.get("class") == _OWN_TYPES and self.types:
            return {**value, "types": [{"$import": TYPES}]}
        made = {name: self._plain(part) for name, part in value.items()}
        if value.get("class") in ("File", "Directory") and "location" in value:
            made["location"] = self._locate(value)
        return made


def _mappings(value: Any) -> Iterator[CwlObject]:
    if isinstance(value, Mapping):
        yield value
    for part in value.values() if isinstance(value, Mapping) else value:
        if isinstance(part, Mapping | list):
            yield from _mappings(part)
