# SPDX-License-Identifier: Apache-2.0
"""Control groups of steps: with files that are made here, and for real where somebody may."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cwl_udss.machine.control_groups import own_memory_group
from cwl_udss.runtimes.accounting.memory import Memory
from cwl_udss.runtimes.accounting.memory_group import (
    MemoryGroup,
    group_of_job,
    group_with_limit,
    processes_peak,
)
from cwl_udss.sandbox import MemorySource, Usage

MEBIBYTE = 1 << 20
USAGE = Usage(
    user_seconds=1.0,
    system_seconds=1.0,
    memory_bytes=90 * MEBIBYTE,
    memory_source=MemorySource.LOOKED_AT,
    largest_bytes=80 * MEBIBYTE,
    read_bytes=0,
    written_bytes=0,
    major_faults=0,
    processes=2,
)


def write(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name.replace("__", ".")).write_text(content)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The root directory of a machine with version 2, which has given this process a group."""
    write(tmp_path / "proc/self", cgroup="0::/user.slice/run.scope\n")
    write(tmp_path / f"proc/{os.getpid()}/task/{os.getpid()}", children="")
    write(
        tmp_path / "sys/fs/cgroup/user.slice/run.scope",
        cgroup__controllers="cpu memory pids\n",
        cgroup__subtree_control="\n",
        cgroup__procs=f"{os.getpid()}\n",
        memory__current="1000",
    )
    return tmp_path


def scope(machine: Path) -> Path:
    return machine / "sys/fs/cgroup/user.slice/run.scope"


def test_a_step_has_a_group_of_its_own_where_that_is_delegated(machine: Path) -> None:
    group = group_with_limit(100 * MEBIBYTE, machine)
    assert group is not None
    assert group.directory.parent == scope(machine)
    assert (group.directory / "memory.max").read_text() == str(100 * MEBIBYTE)
    assert (group.directory / "memory.swap.max").read_text() == "0"
    # A group with others below it may have no processes itself.
    assert (scope(machine) / "cwl-udss/cgroup.procs").read_text() == str(os.getpid())
    assert (scope(machine) / "cgroup.subtree_control").read_text() == "+memory"


def test_the_next_step_finds_that_ready(machine: Path) -> None:
    write(scope(machine), cgroup__subtree_control="memory\n", cgroup__procs="")
    write(scope(machine) / "cwl-udss", memory__current="1", cgroup__controllers="memory\n")
    write(machine / "proc/self", cgroup="0::/user.slice/run.scope/cwl-udss\n")
    group = group_with_limit(MEBIBYTE, machine)
    assert group is not None
    assert group.directory.parent == scope(machine)


def test_no_process_of_others_is_moved(machine: Path) -> None:
    write(scope(machine), cgroup__procs=f"1\n{os.getpid()}\n")
    assert group_with_limit(MEBIBYTE, machine) is None
    assert [path.name for path in scope(machine).iterdir() if path.is_dir()] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("version", [1, 2])
def test_there_is_none_where_none_is_delegated(machine: Path, version: int) -> None:
    directory = scope(machine)
    if version == 1:
        write(machine / "proc/self", cgroup="4:memory:/job\n0::/\n")
        directory = machine / "sys/fs/cgroup/memory/job"
        write(directory, memory__usage_in_bytes="1000")
    for path in (directory / "cgroup.procs", directory):
        if path.exists():
            path.chmod(0o555)
    assert group_with_limit(MEBIBYTE, machine) is None
    directory.chmod(0o755)


@pytest.mark.parametrize("content", ["", "nonsense", "0::/nowhere\n", "3:cpu:/\n"])
def test_there_is_none_where_none_is_seen(tmp_path: Path, content: str) -> None:
    write(tmp_path / "proc/self", cgroup=content if ":" in content else "")
    assert own_memory_group(tmp_path) is None
    assert group_with_limit(MEBIBYTE, tmp_path) is None


def step_group(directory: Path, **files: str) -> MemoryGroup:
    write(directory, memory__current="0", **files)
    return MemoryGroup(directory, is_version_2=True)


@pytest.mark.parametrize(
    ("peak", "others", "cache", "whole"),
    [
        (100, 0, 0, 100),
        (100, 0, 5, 100),
        (100, 0, 6, None),  # may be files, of which the step had nothing in memory
        (130, 30, 5, 100),
        (130, 30, 6, None),
    ],
)
def test_what_a_group_says_of_processes(
    peak: int, others: int, cache: int, whole: int | None
) -> None:
    assert processes_peak(peak, others, cache) == whole


def test_the_groups_figure_is_taken_where_it_is_of_processes(tmp_path: Path) -> None:
    files = {"memory__peak": str(100 * MEBIBYTE), "memory__stat": "file 70000000\nshmem 69000000\n"}
    memory = Memory(200 * MEBIBYTE, step_group(tmp_path / "step", **files))
    usage, was_over = memory.conclude(USAGE)
    assert usage is not None
    assert (usage.memory_bytes, was_over) == (100 * MEBIBYTE, False)
    assert usage.memory_source is MemorySource.CONTROL_GROUP
    write(tmp_path / "step", memory__stat="file 70000000\nshmem 0\n")
    memory = Memory(200 * MEBIBYTE, MemoryGroup(tmp_path / "step", is_version_2=True))
    assert memory.conclude(USAGE) == (USAGE, False)


def test_who_was_killed_in_a_group_was_over_its_limit(tmp_path: Path) -> None:
    memory = Memory(MEBIBYTE * 100, step_group(tmp_path / "step", memory__events="oom_kill 0\n"))
    assert not memory.is_over()
    write(tmp_path / "step", memory__events="oom 1\noom_kill 1\n")
    assert memory.is_over()
    assert memory.conclude(USAGE)[1]


SLURM = "0::/system.slice/slurmstepd.scope/job_12/step_batch/user/task_0\n"
PBS = "4:memory:/pbs_jobs.service/jobid/12.server\n0::/\n"


@pytest.mark.parametrize(
    ("text", "job", "is_found"),
    [(SLURM, "12", True), (SLURM, "1", False), (PBS, "12.server", True), (PBS, "2.server", False)],
)
def test_the_group_of_a_job(tmp_path: Path, text: str, job: str, is_found: bool) -> None:
    """Of which only that is a step's that has come after its begin."""
    write(tmp_path / "proc/self", cgroup=text)
    version_2 = text is SLURM
    mount = tmp_path / "sys/fs/cgroup" / ("" if version_2 else "memory")
    names = ("current", "peak") if version_2 else ("usage_in_bytes", "max_usage_in_bytes")
    path = mount / text.splitlines()[0].split(":", 2)[2].lstrip("/")

    def say(current: int, peak: int) -> None:
        write(path, **{f"memory__{names[0]}": f"{current}", f"memory__{names[1]}": f"{peak}"})

    say(30 * MEBIBYTE, 40 * MEBIBYTE)
    if version_2:
        write(path, cgroup__controllers="memory\n")
    group = group_of_job(job, tmp_path)
    assert (group is not None) == is_found
    if group is not None:
        assert group.peak() is None
        say(30 * MEBIBYTE, 130 * MEBIBYTE)
        assert group.peak() == 100 * MEBIBYTE
        group.close()
        assert path.is_dir()


def test_for_real(tmp_path: Path) -> None:
    """The kernel ends who has more, and says how much that was."""
    group = group_with_limit(50 * MEBIBYTE)
    if group is None:
        pytest.skip("this process has been given no control group")
    script = "read go; exec head -c 100m /dev/zero | tail"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE) as process:
        group.take(process.pid)
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.close()
        process.wait()
    assert group.kills == 1
    assert group.peak() == pytest.approx(50 * MEBIBYTE, rel=0.02)
    group.close()
    assert not group.directory.exists()
