# SPDX-License-Identifier: Apache-2.0
"""What a tool asks for that is not its image, its files or its command."""

from __future__ import annotations

import math
from collections.abc import Collection

from cwltool.builder import Builder
from cwltool.errors import WorkflowException
from cwltool.job import JobBase

from cwl_udss.errors import SandboxError
from cwl_udss.machine.quantities import memory_text
from cwl_udss.report.record import Asked

_CUDA = "http://commonwl.org/cwltool#CUDARequirement"
_SHARED_MEMORY_SIZE = "http://commonwl.org/cwltool#ShmSize"
_MEBIBYTE = 1 << 20
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}  # as docker run --shm-size


def check_wishes(job: JobBase) -> None:
    """Raise SandboxError for what sandboxes do not have yet, before anything is done for a job."""
    if job.get_requirement(_CUDA)[0] is not None:
        raise SandboxError(
            "GPUs are not shown to steps yet, and the tool asks for one (CUDARequirement)",
            "run it without --udss",
        )
    if job.mpi_procs:
        raise SandboxError(
            "MPI programs cannot run in sandboxes yet, and the tool is one (MPIRequirement)",
            "run it without --udss; it never runs on the host instead of in its image",
        )


def asked_by(job: JobBase) -> Asked:
    """Return what the tool says that it needs."""
    requirement = job.get_requirement("ResourceRequirement")[0] or {}
    resources = job.builder.resources

    def said(name: str) -> float | None:
        is_said = requirement.get(f"{name}Min") or requirement.get(f"{name}Max")
        return float(resources[name]) if is_said else None

    memory = said("ram")
    return Asked(
        cores=said("cores"),
        memory_bytes=None if memory is None else math.ceil(memory) * _MEBIBYTE,
        seconds=job.timelimit or None,
    )


def means_success(job: JobBase, exit_code: int) -> bool:
    """Say what an exit code means, as cwltool does after collection (JobBase._execute)."""
    if exit_code in job.successCodes:
        return True
    return exit_code == 0 and exit_code not in (*job.temporaryFailCodes, *job.permanentFailCodes)


def whole_cores(builder: Builder) -> int:
    """Return how many cores a step is to have, where it may have asked for a part of one."""
    return math.ceil(builder.resources["cores"])


def memory_limit(job: JobBase, limited: Collection[str]) -> int | None:
    """Return how many bytes a step may use if "memory" is limited: what it asks for, or what CWL
    gives one that does not ask."""
    return math.ceil(job.builder.resources["ram"]) * _MEBIBYTE if "memory" in limited else None


def cpu_limit(job: JobBase, limited: Collection[str]) -> float | None:
    """Return how many processors a step may use if "cores" are limited."""
    return float(job.builder.resources["cores"]) if "cores" in limited else None


def why_over_memory(job: JobBase, limit: int, used: int | None) -> str:
    """Say in a sentence that a step has used more than it may."""
    has_asked = asked_by(job).memory_bytes is not None
    reason = "which it asks for" if has_asked else "which is what it gets as it does not ask"
    amount, allowed = memory_text((used or 0) / _MEBIBYTE), memory_text(limit / _MEBIBYTE)
    if used is None or used <= limit:  # the kernel has let it have no more
        amount = "all of that"
    elif amount == allowed:
        amount = "more"
    return (
        f"killed at its memory limit: it may use {allowed}, {reason}, and has used {amount}: "
        "raise its ramMin"
    )


def shared_memory_bytes(builder: Builder) -> int | None:
    """Return how much shared memory the tool asks for, None if it does not."""
    requirement, _ = builder.get_requirement(_SHARED_MEMORY_SIZE)
    if requirement is None:
        return None
    text = str(requirement["shmSize"]).lower()
    number = text.rstrip("bkmg")
    try:
        return int(number) * _UNITS[text[len(number) :]]
    except (ValueError, KeyError):
        raise WorkflowException(f"shmSize {text!r} is not a size such as 512m") from None
