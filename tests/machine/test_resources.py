# SPDX-License-Identifier: Apache-2.0
"""What steps may use together: the least that anything allows."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from cwl_udss.machine.resources import available_resources

CORES = len(os.sched_getaffinity(0))
GIBIBYTE = 1 << 30


def system(root: Path, cgroup: str, **files: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_without_limits_it_is_the_machine(tmp_path: Path) -> None:
    resources = available_resources({}, tmp_path)
    assert resources.cores == CORES
    assert 0 < resources.ram <= psutil.virtual_memory().total >> 20


@pytest.mark.parametrize(
    ("environment", "cores"),
    [
        ({"PBS_JOBID": "1.server", "NCPUS": "1"}, 1),
        ({"NCPUS": "1"}, CORES),
        ({"SLURM_CPUS_PER_TASK": "1", "SLURM_CPUS_ON_NODE": "64"}, 1),
        ({"SLURM_CPUS_ON_NODE": "1"}, 1),
        ({"SLURM_CPUS_ON_NODE": "4096"}, CORES),
    ],
)
def test_cores_of_a_batch_job(tmp_path: Path, environment: dict[str, str], cores: int) -> None:
    assert available_resources(environment, tmp_path).cores == cores


@pytest.mark.parametrize(
    ("environment", "ram"),
    [
        ({"SLURM_MEM_PER_NODE": "100"}, 100),
        ({"SLURM_MEM_PER_CPU": "50", "SLURM_CPUS_ON_NODE": "3"}, 150),
    ],
)
def test_memory_of_a_batch_job(tmp_path: Path, environment: dict[str, str], ram: int) -> None:
    assert available_resources(environment, tmp_path).ram == ram


def test_slurms_zero_is_the_whole_node(tmp_path: Path) -> None:
    assert available_resources({"SLURM_MEM_PER_NODE": "0"}, tmp_path).ram > 1


def test_limits_of_a_version_2_group_and_of_those_above_it(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        "0::/slurm/job_7\n",
        **{
            "slurm__cpu_DOT_max": "100000 100000",
            "slurm__job_7__cpu_DOT_max": "max 100000",
            "slurm__job_7__memory_DOT_max": str(GIBIBYTE),
            "slurm__job_7__memory_DOT_current": str(GIBIBYTE // 2),
            "slurm__job_7__memory_DOT_stat": f"anon 1\ninactive_file {GIBIBYTE // 4}\n",
        },
    )
    resources = available_resources({}, root)
    assert resources.cores == 1
    assert resources.ram == 768


def test_limits_of_version_1_groups(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        "4:memory:/pbs/7\n3:cpu,cpuacct:/pbs/7\n0::/\n",
        **{
            "cpu__pbs__7__cpu_DOT_cfs_quota_us": "150000",
            "cpu__pbs__7__cpu_DOT_cfs_period_us": "100000",
            "memory__pbs__7__memory_DOT_limit_in_bytes": str(GIBIBYTE),
            "memory__pbs__7__memory_DOT_usage_in_bytes": "0",
        },
    )
    resources = available_resources({}, root)
    assert resources.cores == 1
    assert resources.ram == 1024
