# SPDX-License-Identifier: Apache-2.0
"""What ran, as entities: when, how it ended, in which image, and what it used."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from cwl_udss.report.crate.graph import Graph, Reference, reference, text
from cwl_udss.report.crate.profile import TERMS
from cwl_udss.report.record import Status, StepRecord

_QUANTITIES = "https://pypi.org/project/cwl-udss/#"
_UNITS = "https://qudt.org/vocab/unit/"
_DIGEST = re.compile("sha256:([0-9a-f]{64})")
_STATUSES = {
    Status.COMPLETED: "CompletedActionStatus",
    Status.CACHED: "CompletedActionStatus",
    Status.RUNNING: "ActiveActionStatus",
    Status.SUBMITTED: "PotentialActionStatus",
    Status.FAILED: "FailedActionStatus",
    Status.ABORTED: "FailedActionStatus",
}


@dataclass(frozen=True, kw_only=True)
class Use:
    """One use of a tool or workflow."""

    identifier: str
    name: str
    instrument: Reference
    status: Status
    started: float | None
    ended: float | None
    problem: str = ""
    inputs: list[Reference]
    outputs: list[Reference]
    record: StepRecord | None = None
    """Of its job, if it had one."""


def iso_time(seconds: float | None) -> str | None:
    """Return a time as ISO 8601 has it, with its zone."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")


def add_action(graph: Graph, use: Use, agent: Reference | None) -> Reference:
    """Add it, with its image and what it used."""
    record = use.record
    has_failed = use.status in (Status.FAILED, Status.ABORTED)
    return graph.add(
        use.identifier,
        "CreateAction",
        name=text(use.name),
        description=_description(record),
        instrument=use.instrument,
        agent=agent,
        startTime=iso_time(use.started),
        endTime=iso_time(use.ended),
        actionStatus=reference(f"http://schema.org/{_STATUSES[use.status]}"),
        error=text(_error(use)) if has_failed else None,
        object=use.inputs,
        result=use.outputs,
        containerImage=_image(graph, record) if record is not None else None,
        resourceUsage=_usage(graph, use.identifier, record) if record is not None else None,
    )


def _description(record: StepRecord | None) -> str | None:
    if record is None:
        return None
    command = text(shlex.join(record.command))
    if record.status is Status.CACHED:
        return f"Its result was there from an earlier run: {command}"
    return command


def _error(use: Use) -> str:
    record = use.record
    if record is None:
        return use.problem or "it has not ended by itself"
    code, ending = record.ran.exit_code, record.ran.ending
    ended = f"{ending}, exit code {code}" if code else ending
    why = record.problem or use.problem
    said = (ended if code or not why else "", why, record.ran.said)
    return "\n".join(filter(None, said)) or "it has not run"


def _image(graph: Graph, record: StepRecord) -> Reference | None:
    if not record.image and not record.digest:
        return None
    digest = _DIGEST.fullmatch(record.digest)
    name, tag = record.image, ""
    name = name.partition("@")[0]
    if ":" in name.rpartition("/")[2]:
        name, _, tag = name.rpartition(":")
    host, slash, path = name.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, path = "docker.io", name if slash else f"library/{name}"
    is_path = not name or name.startswith(("/", ".")) or ":" in host.partition(":")[2]
    kind = "SIFImage" if record.image_place.endswith((".sif", ".img")) else "DockerImage"
    return graph.add_once(
        f"#image-{_known(record)}",
        "ContainerImage",
        additionalType=reference(f"{TERMS}#{kind}"),
        registry=None if is_path else text(host),
        name=text(name.rpartition("/")[2] if is_path else path) or record.digest,
        tag=text(tag),
        sha256=digest[1] if digest else None,
    )


def _known(record: StepRecord) -> str:
    """What tells an image from others."""
    named = text(f"{record.image}@{record.digest.removeprefix('sha256:')[:16]}")
    return re.sub("[^A-Za-z0-9._@-]", "-", named)


def _usage(graph: Graph, action: str, record: StepRecord) -> list[Reference]:
    return [
        graph.add(
            f"{action}/{name}",
            "PropertyValue",
            name=name,
            description=description,
            propertyID=f"{_QUANTITIES}{name}",
            unitCode=f"{_UNITS}{unit}" if unit else None,
            value=value,
        )
        for name, (value, unit, description) in _figures(record).items()
    ]


def _figures(record: StepRecord) -> Mapping[str, tuple[str, str, str]]:
    """Those that are known, by name: value, unit and how they were had."""
    usage = record.ran.usage
    figures: dict[str, tuple[Any, str, str]] = {
        "wallTime": (_rounded(record.ran.times.seconds), "SEC", "")
    }
    if usage is not None:
        source = usage.memory_source.value if usage.memory_source is not None else ""
        figures |= {
            "userTime": (_rounded(usage.user_seconds), "SEC", ""),
            "systemTime": (_rounded(usage.system_seconds), "SEC", ""),
            "peakMemory": (usage.memory_bytes, "BYTE", f"of all processes together: {source}"),
            "largestProcess": (usage.largest_bytes, "BYTE", ""),
            "readFromStorage": (usage.read_bytes, "BYTE", ""),
            "writtenToStorage": (usage.written_bytes, "BYTE", ""),
            "majorPageFaults": (usage.major_faults, "", ""),
            "processes": (usage.processes, "", "the most at one time"),
        }
    return {name: (str(x[0]), x[1], x[2]) for name, x in figures.items() if x[0] is not None}


def _rounded(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:.3f}"
