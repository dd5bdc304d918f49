# SPDX-License-Identifier: Apache-2.0
"""Runs as plain data, for tests and for the benchmark of the page."""

from __future__ import annotations

import random
from typing import Any

from cwl_udss.report.record import Asked, Ran, Status, StepRecord, Times
from cwl_udss.report.run import Begin, End, Node, Run
from cwl_udss.sandbox import MemorySource, Usage

BEGAN = 1_780_000_000.0


def begin(*nodes: Node, **more: Any) -> Begin:
    facts: dict[str, Any] = {
        "workflow": "/work/count.cwl",
        "label": "",
        "command": ("cwltool", "--udss", "count.cwl"),
        "directory": "/work",
        "run_directory": "",
        "started": BEGAN,
        "host": "login1",
        "facts": {"kernel": "Linux 6.1"},
        "nodes": nodes,
        "inputs": {},
        "captions": {},
    }
    return Begin(**{**facts, **more})


def node(path: str, *before: str, **more: Any) -> Node:
    facts = {"tool": "tool.cwl", "label": "", "is_scattered": False, "has_jobs": True}
    return Node(**{**facts, "path": path, "before": before, **more})


def step(number: int, name: str, started: float, ended: float, **more: Any) -> StepRecord:
    """A step that has ended, at seconds from the begin on; it has used what a `usage` says."""
    ran: dict[str, Any] = {"exit_code": 0, "ending": "exited", "node": "node1"}
    ran |= {name: more.pop(name) for name in ("said", "directory", "exit_code") if name in more}
    memory = more.pop("memory", 1 << 20)
    processors = more.pop("processors", 1.0)
    times = Times(ready=BEGAN + started, started=BEGAN + started, ended=BEGAN + ended)
    usage = Usage(
        user_seconds=(ended - started) * processors,
        system_seconds=0.0,
        memory_bytes=memory,
        memory_source=MemorySource.LOOKED_AT,
        largest_bytes=memory,
        read_bytes=0,
        written_bytes=0,
        major_faults=0,
        processes=1,
    )
    facts: dict[str, Any] = {
        "step": name,
        "index": None,
        "job": f"{name}_{number}",
        "tool": "tool.cwl",
        "status": Status.COMPLETED,
        "asked": Asked(),
        "image": "busybox:1.36",
        "digest": "sha256:00",
        "command": ("true",),
        "problem": "",
    }
    return StepRecord(
        **{**facts, "number": number, "ran": Ran(times=times, usage=usage, **ran), **more}
    )


def end(exit_code: int = 0, ended: float = 10.0, **more: Any) -> End:
    facts: dict[str, Any] = {"outputs": {}, "messages": (), "inputs": {}}
    return End(ended=BEGAN + ended, exit_code=exit_code, **{**facts, **more})


def large_run(steps: int, tools: int = 60, at_once: int = 40) -> Run:
    """A run of so many steps, of which a few have failed, and a workflow of `tools`."""
    generator = random.Random(1)
    nodes = [node("step0")]
    for number in range(1, tools):
        before = {f"step{generator.randrange(number)}" for _ in range(1 + number % 2)}
        nodes.append(node(f"step{number}", *sorted(before), is_scattered=True))
    free = [0.0] * at_once
    records = []
    for number in range(1, steps + 1):
        lane = number % at_once
        started, free[lane] = free[lane], free[lane] + generator.uniform(5, 50)
        records.append(
            step(
                number,
                f"step{number * tools // (steps + 1)}",
                started + 0.5,
                free[lane],
                index=number,
                memory=generator.randrange(1 << 20, 4 << 30),
                asked=Asked(cores=1, memory_bytes=8 << 30),
                status=Status.FAILED if number % 1000 == 7 else Status.COMPLETED,
                problem="it went wrong" if number % 1000 == 7 else "",
            )
        )
    return Run(begin=begin(*nodes), steps=records, end=end(1, max(free)), now=BEGAN + max(free))
