# SPDX-License-Identifier: Apache-2.0
"""The steps of a workflow that was read, those of its workflows too, and what they give each other.

Knows how cwltool holds a workflow: its steps in a random order, and the ids of their parameters.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cwltool.process import Process, shortname
from cwltool.utils import aslist
from cwltool.workflow import Workflow, WorkflowStep

from cwl_udss.engine.jobs.recording import Place, document_name
from cwl_udss.report.run import Node

_LOOP = "http://commonwl.org/cwltool#Loop"


@dataclass(frozen=True)
class _Level:
    """A workflow, and what is around it."""

    workflow: Workflow
    path: str
    is_scattered: bool
    given: Mapping[str, frozenset[str]]
    """The steps of which each of its inputs comes."""

    def steps(self) -> list[tuple[str, WorkflowStep]]:
        """In the order of the document."""
        order = {step["id"]: number for number, step in enumerate(self.workflow.tool["steps"])}
        found = sorted(self.workflow.steps, key=lambda step: order.get(step.tool["id"], 0))
        return [(f"{self.path}{shortname(step.id)}", step) for step in found]

    def inside(self, path: str, step: WorkflowStep) -> _Level | None:
        """The workflow that a step is."""
        inner = step.embedded_tool
        if not isinstance(inner, Workflow):
            return None
        given = {
            shortname(entry["id"]): self.producers(entry.get("source"))
            for entry in step.tool["inputs"]
        }
        return _Level(inner, f"{path}/", self.is_scattered or _is_many(step), given)

    def producers(self, sources: Any) -> frozenset[str]:
        """The steps, none of them a workflow, from which sources come."""
        found: set[str] = set()
        for source in aslist(sources) if sources else []:
            found |= self._producers(str(source))
        return frozenset(found)

    def _producers(self, source: str) -> frozenset[str]:
        for path, step in self.steps():
            if source not in (output["id"] for output in step.tool["outputs"]):
                continue
            inner = self.inside(path, step)
            if inner is None:
                return frozenset((path,))
            outputs = inner.workflow.tool["outputs"]
            [output] = [o for o in outputs if shortname(o["id"]) == shortname(source)]
            return inner.producers(output.get("outputSource"))
        return self.given.get(shortname(source), frozenset())


def outline(process: Process) -> tuple[list[Node], Mapping[int, Place]]:
    """Return the steps, and where the tools are, by id(). A tool alone is its own only step."""
    if not isinstance(process, Workflow):
        name = shortname(str(process.tool["id"]))
        return [_node(name, process, process.tool)], {
            id(process): Place(path=name, is_scattered=False)
        }
    nodes, places = [], {}
    for level, path, step in _tools(_Level(process, "", False, {})):
        before = level.producers([s for i in step.tool["inputs"] for s in aslist(i.get("source"))])
        is_many = level.is_scattered or _is_many(step)
        nodes.append(_node(path, step.embedded_tool, step.tool, before, is_scattered=is_many))
        places[id(step.embedded_tool)] = Place(path=path, is_scattered=is_many)
    return _in_order(nodes), places


def _in_order(nodes: Sequence[Node]) -> list[Node]:
    """First those that need none before them; cwltool has them by name."""
    before = {node.path: node.before for node in nodes}
    depths: dict[str, int] = {}
    for path in graphlib.TopologicalSorter(before).static_order():
        depths[path] = max((depths[name] + 1 for name in before[path]), default=0)
    return sorted(nodes, key=lambda node: depths[node.path])


def _tools(level: _Level) -> Iterator[tuple[_Level, str, WorkflowStep]]:
    for path, step in level.steps():
        inner = level.inside(path, step)
        if inner is None:
            yield level, path, step
        else:
            yield from _tools(inner)


def _node(
    path: str,
    tool: Process,
    described: Mapping[str, Any],
    before: frozenset[str] = frozenset(),
    *,
    is_scattered: bool = False,
) -> Node:
    words = [
        str(said)
        for name in ("label", "doc")
        for said in aslist(described.get(name) or tool.tool.get(name) or [])
    ]
    return Node(
        path=path,
        tool=document_name(tool),
        label=" ".join(words),
        is_scattered=is_scattered,
        has_jobs=tool.tool["class"] == "CommandLineTool",
        before=tuple(sorted(before)),
    )


def _is_many(step: WorkflowStep) -> bool:
    """Whether there may be several jobs of it: a scatter's, or a loop's."""
    return "scatter" in step.tool or "loop" in step.tool or bool(step.get_requirement(_LOOP)[0])
