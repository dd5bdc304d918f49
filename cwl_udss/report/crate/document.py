# SPDX-License-Identifier: Apache-2.0
"""A packed CWL document: its workflows and tools, steps and parameters."""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

CwlObject = Mapping[str, Any]
Side = Literal["inputs", "outputs"]
Connection = tuple[CwlObject | None, tuple[Side, str], tuple[Side, str]]
"""The step that receives (none: the workflow's own outputs), the parameter that gives, and the one
that is given: of one side a tool may have one that is called as one of the other."""

_TYPES = {
    "string": "Text",
    "int": "Integer",
    "long": "Integer",
    "float": "Float",
    "double": "Float",
    "boolean": "Boolean",
    "Any": "DataType",
    "File": "File",
    "Directory": "Dataset",
    "enum": "Text",
    "record": "PropertyValue",
}


def short(identifier: str) -> str:
    """Return the last part of an identifier: `#main/call/file` is called `file`."""
    return identifier.rpartition("#")[2].rpartition("/")[2]


def listed(value: Any) -> list[Any]:
    """Return one, none or many as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


@dataclass(frozen=True)
class Document:
    """A document with all that it uses in it, as cwltool packs one."""

    content: CwlObject

    @cached_property
    def processes(self) -> Mapping[str, CwlObject]:
        """Workflows, tools and expressions by their identifiers, those within steps too."""
        found: dict[str, CwlObject] = {}
        pending = list(self.content.get("$graph", [self.content]))
        while pending:
            process = pending.pop(0)
            found[str(process.get("id", "#main"))] = process
            for step in listed(process.get("steps")):
                if isinstance(step["run"], Mapping):
                    pending.append({"id": self.run_of(step), **step["run"]})
        return found

    @property
    def main(self) -> str:
        """What was run."""
        return "#main" if "#main" in self.processes else next(iter(self.processes))

    @property
    def version(self) -> str:
        """Of CWL."""
        return str(self.content.get("cwlVersion", ""))

    @staticmethod
    def run_of(step: CwlObject) -> str:
        """The identifier of what a step runs."""
        run = step["run"]
        if not isinstance(run, Mapping):
            return str(run)
        return str(run.get("id") or f"{step['id']}/run")

    def steps(self, process: str) -> Mapping[str, CwlObject]:
        """The steps of a workflow, by their names."""
        return {
            short(str(step["id"])): step for step in listed(self.processes[process].get("steps"))
        }

    def parameters(self, process: str, side: Side) -> Mapping[str, CwlObject]:
        """What a process is given (`inputs`), or makes (`outputs`), by name."""
        return {
            short(str(entry["id"])): entry for entry in listed(self.processes[process].get(side))
        }

    def image(self, process: str) -> str:
        """The image that a tool names itself."""
        for side in ("requirements", "hints"):
            for wish in listed(self.processes[process].get(side)):
                if wish.get("class") == "DockerRequirement" and "dockerPull" in wish:
                    return str(wish["dockerPull"])
        return ""

    def find(self, path: str) -> tuple[CwlObject, str] | None:
        """The step of such a path from the main workflow on, and what it runs."""
        process, found = self.main, None
        for name in path.split("/"):
            step = self.steps(process).get(name) if process in self.processes else None
            if step is None:
                return None
            process = self.run_of(step)
            found = step
        return None if found is None else (found, process)

    def in_order(self, process: str) -> list[CwlObject]:
        """The steps of a workflow, each after those whose outputs it is given."""
        steps = self.steps(process)
        makers = {str(out): name for name, step in steps.items() for out in _outputs(step)}
        before = {
            name: {
                makers[source]
                for entry in listed(step.get("in"))
                for source in map(str, listed(entry.get("source")))
                if source in makers
            }
            for name, step in steps.items()
        }
        return [steps[name] for name in graphlib.TopologicalSorter(before).static_order()]

    def connections(self, process: str) -> Iterator[Connection]:
        """Those in a workflow. The parameters are of tools, not of steps."""
        makers: dict[str, tuple[Side, str]] = {
            str(entry["id"]): ("inputs", str(entry["id"]))
            for entry in self.parameters(process, "inputs").values()
        }
        for step in self.steps(process).values():
            made = self.parameters(self.run_of(step), "outputs")
            for out in _outputs(step):
                if short(out) in made:
                    makers[out] = ("outputs", str(made[short(out)]["id"]))
        for step in self.steps(process).values():
            given = self.parameters(self.run_of(step), "inputs")
            for entry in listed(step.get("in")):
                target = given.get(short(str(entry["id"])))
                for source in map(str, listed(entry.get("source"))):
                    if source in makers and target is not None:
                        yield step, makers[source], ("inputs", str(target["id"]))
        for output in self.parameters(process, "outputs").values():
            for source in map(str, listed(output.get("outputSource"))):
                if source in makers:
                    yield None, makers[source], ("outputs", str(output["id"]))


def _outputs(step: CwlObject) -> list[str]:
    return [str(out["id"] if isinstance(out, Mapping) else out) for out in listed(step.get("out"))]


@dataclass(frozen=True, kw_only=True)
class ParameterType:
    """What a parameter may be, in words of schema.org."""

    names: Sequence[str]
    is_required: bool
    is_multiple: bool
    symbols: Sequence[str]
    """All that it may be, if its author has named them."""


def parameter_type(parameter: CwlObject) -> ParameterType:
    """Return the type of a parameter: docs/cwl_param_mapping.md of the profile's authors."""
    names: set[str] = set()
    symbols: list[str] = []
    is_required, is_multiple = True, False
    pending = listed(parameter.get("type"))
    while pending:
        part = pending.pop()
        kind = part.get("type") if isinstance(part, Mapping) else part
        if isinstance(kind, Mapping | list):
            pending += listed(kind)
        elif kind == "null":
            is_required = False
        elif kind == "array":
            is_multiple = True
            pending += listed(part["items"]) if isinstance(part, Mapping) else []
        else:
            # What is none of CWL's own is the name of a record or enumeration.
            names.add(_TYPES.get(str(kind), "PropertyValue"))
            if kind == "enum" and isinstance(part, Mapping):
                symbols += [short(str(symbol)) for symbol in part.get("symbols", [])]
    if names == {"File"} and parameter.get("secondaryFiles"):
        names = {"Collection"}
    return ParameterType(
        names=sorted(names) or ["DataType"],
        is_required=is_required and "default" not in parameter,
        is_multiple=is_multiple,
        symbols=symbols,
    )
