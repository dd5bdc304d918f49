# SPDX-License-Identifier: Apache-2.0
"""What this process may use of the machine: the least that affinity, cgroup and batch job allow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from cwl_udss.machine.control_groups import content, control_groups, memory_kills_in, pairs

_MEBIBYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Processors, and memory in MiB."""

    cores: int
    ram: int


def available_resources(environment: Mapping[str, str], system: Path = Path("/")) -> Resources:
    """Return what steps on this machine may use together."""
    groups = control_groups(system)
    cores = [len(os.sched_getaffinity(0)), *_batch_cores(environment)]
    memory = [psutil.virtual_memory().available, *_batch_memory(environment)]
    for group in groups:
        cores += _group_cores(group)
        memory += _group_memory(group)
    return Resources(cores=max(1, min(cores)), ram=max(1, min(memory) // _MEBIBYTE))


def memory_kills(system: Path = Path("/")) -> int:
    """Return how many processes of this one's control group the kernel has killed for its memory
    limit so far."""
    said = map(memory_kills_in, control_groups(system))
    return next((number for number in said if number is not None), 0)


def _batch_cores(environment: Mapping[str, str]) -> list[int]:
    """PBS sets NCPUS (qsub(1B)); Slurm the other two, the first for a task (sbatch(1))."""
    if "PBS_JOBID" in environment:
        return _numbers(environment, "NCPUS")
    return (
        _numbers(environment, "SLURM_CPUS_PER_TASK")
        or _numbers(environment, "SLURM_CPUS_ON_NODE")
        or _numbers(environment, "SLURM_JOB_CPUS_PER_NODE")
    )


def _batch_memory(environment: Mapping[str, str]) -> list[int]:
    """Slurm's are in MiB (sbatch(1)). PBS has no variable for memory; where a site enforces it, it
    does by cgroup."""
    whole = _numbers(environment, "SLURM_MEM_PER_NODE")
    if not whole:
        processors = _numbers(environment, "SLURM_CPUS_ON_NODE") or [1]
        per_processor = _numbers(environment, "SLURM_MEM_PER_CPU")
        whole = [amount * processors[0] for amount in per_processor]
    # 0 is Slurm's word for "all of the node's".
    return [amount * _MEBIBYTE for amount in whole if amount]


def _numbers(environment: Mapping[str, str], name: str) -> list[int]:
    text = environment.get(name, "")
    return [int(text)] if text.isdecimal() else []


def _group_cores(group: Path) -> list[int]:
    """Version 2: cpu.max is "QUOTA PERIOD" or "max PERIOD"; version 1 has a file for each."""
    quota, _, period = content(group / "cpu.max").partition(" ")
    if not period:
        quota, period = content(group / "cpu.cfs_quota_us"), content(group / "cpu.cfs_period_us")
    if quota.isdecimal() and period.isdecimal():
        return [max(1, int(quota) // int(period))]
    return []


def _group_memory(group: Path) -> list[int]:
    """Bytes that are left: the limit less what is used and cannot be had back."""
    for limit_name, usage_name in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        limit, usage = content(group / limit_name), content(group / usage_name)
        if limit.isdecimal() and usage.isdecimal():
            cache = pairs(content(group / "memory.stat")).get("inactive_file", 0)
            return [int(limit) - max(0, int(usage) - cache)]
    return []
