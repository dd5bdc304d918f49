# SPDX-License-Identifier: Apache-2.0
"""What the page's scripts draw, as plain data: the steps in rows, and the workflow as a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cwl_udss.report.analysis import by_step
from cwl_udss.report.nextflow import asked_for, processor_share
from cwl_udss.report.record import Status, StepRecord
from cwl_udss.report.run import Node, Run

_MOST_NODES = 150
"""Dagre takes seconds for some hundreds: workflows in it are one node each then."""
STATUSES = tuple(Status)


def page_data(run: Run, critical: Sequence[StepRecord]) -> dict[str, Any]:
    """Return it. Times are milliseconds from the run's begin on."""
    steps = {name: number for number, name in enumerate(sorted({s.step for s in run.steps}))}
    hosts = {name: number for number, name in enumerate(sorted({s.ran.node for s in run.steps}))}
    nodes = graph_nodes(run.begin.nodes)
    return {
        "start": round(run.begin.started * 1000),
        "now": _since(run, run.end.ended if run.end else run.now),
        "statuses": [status.value for status in STATUSES],
        "steps": list(steps),
        "hosts": list(hosts),
        "critical": [step.number for step in critical],
        "nodes": _nodes(run, nodes, {step.step for step in critical}),
        "rows": [_row(run, step, steps, hosts) for step in run.steps],
    }


def _row(
    run: Run, step: StepRecord, steps: Mapping[str, int], hosts: Mapping[str, int]
) -> list[Any]:
    """In the order in which page.js has the columns."""
    ran, usage, asked, share = step.ran, step.ran.usage, asked_for(step), processor_share(step)
    return [
        step.number,
        steps[step.step],
        step.index,
        STATUSES.index(step.status),
        ran.exit_code,
        hosts[ran.node],
        ran.native_id,
        _since(run, ran.times.ready),
        _since(run, ran.times.started),
        _since(run, ran.times.ended),
        None if share is None else round(100 * share, 1),
        usage and usage.memory_bytes,
        usage and usage.read_bytes,
        usage and usage.written_bytes,
        asked.cores,
        asked.memory_bytes,
        step.problem,
    ]


def _since(run: Run, time: float | None) -> int | None:
    return None if time is None else round((time - run.begin.started) * 1000)


def graph_nodes(nodes: Sequence[Node]) -> list[Node]:
    """Return what is drawn of a workflow: of a large one, the workflows in it as one each."""
    if len(nodes) <= _MOST_NODES:
        return list(nodes)
    tops: dict[str, Node] = {}
    for node in nodes:
        top = node.path.partition("/")[0]
        before = {name.partition("/")[0] for name in node.before} - {top}
        if top in tops:
            known = tops[top]
            tops[top] = replace(
                known,
                before=tuple(sorted({*known.before, *before})),
                has_jobs=known.has_jobs or node.has_jobs,
            )
        else:
            tops[top] = replace(node, path=top, before=tuple(sorted(before)))
    return list(tops.values())


def _nodes(run: Run, nodes: Sequence[Node], critical: set[str]) -> list[dict[str, Any]]:
    jobs = by_step(run.steps)
    made = []
    for node in nodes:
        mine = jobs.get(node.path) or [
            job for path, some in jobs.items() if path.startswith(f"{node.path}/") for job in some
        ]
        made.append(
            {
                "path": node.path,
                "label": node.label,
                "before": list(node.before),
                "has_jobs": node.has_jobs,
                "is_scattered": node.is_scattered,
                "counts": Counter(job.status.value for job in mine),
                "seconds": sum(job.ran.times.seconds or 0.0 for job in mine),
                "critical": any(
                    path == node.path or path.startswith(f"{node.path}/") for path in critical
                ),
            }
        )
    return made
