# SPDX-License-Identifier: Apache-2.0
"""Steps that may not have all memory and all processors, in each runtime."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from steps import Outcome, Step

from cwl_udss.runtimes.accounting.memory_group import MemoryGroup
from cwl_udss.runtimes.affinity import processors_for_children
from cwl_udss.sandbox import Ending, RootFilesystem

MEBIBYTE = 1 << 20


def limited(step: Step, mebibytes: int) -> Step:
    return replace(step, sandbox=replace(step.sandbox, memory_limit=mebibytes * MEBIBYTE))


def fill(mebibytes: int) -> str:
    """Have so much memory until somebody reads what is written."""
    return f"busybox dd if=/dev/zero bs={mebibytes}M count=1 2>/dev/null"


def test_a_step_that_has_too_much_memory_is_killed(step: Step) -> None:
    outcome = limited(step, 100).run(f"{fill(150)} | sleep 60; echo survived", time_limit=50)
    assert outcome.result.ending is Ending.MEMORY_LIMIT
    assert outcome.result.exit_code == 137
    assert "survived" not in outcome.stdout
    assert outcome.result.usage is not None
    assert outcome.result.usage.memory_bytes is not None
    assert outcome.result.usage.memory_bytes >= 100 * MEBIBYTE


def test_what_all_processes_have_counts_together(small_step: Step) -> None:
    script = f"for i in 1 2 3; do ({fill(50)} | sleep 60) & done; wait; echo survived"
    outcome = limited(small_step, 100).run(script, time_limit=50)
    assert outcome.result.ending is Ending.MEMORY_LIMIT
    assert "survived" not in outcome.stdout


def test_what_a_step_has_before_it_is_in_its_group_counts(
    small_step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine may take its time to move processes to a group; only root has one for sure."""
    take = MemoryGroup.take

    def take_slowly(group: MemoryGroup, process: int) -> None:
        time.sleep(0.1)
        take(group, process)

    monkeypatch.setattr(MemoryGroup, "take", take_slowly)
    outcome = limited(small_step, 100).run(f"{fill(150)} | sleep 60", time_limit=20)
    assert outcome.result.ending is Ending.MEMORY_LIMIT


def test_a_step_that_was_quicker_than_any_look_has_had_too_much(small_step: Step) -> None:
    outcome = limited(small_step, 30).run(f"{fill(40)} >/dev/null; echo done")
    assert outcome.result.ending is Ending.MEMORY_LIMIT
    assert outcome.result.exit_code == 137


def test_a_step_within_its_limit_ends_as_it_does(step: Step) -> None:
    outcome = limited(step, 100).run(f"{fill(50)} | (sleep 0.5; cat >/dev/null); exit 3")
    assert outcome.result.ending is Ending.EXITED
    assert outcome.result.exit_code == 3


READERS = """
import os, time
shared = bytearray(100 << 20)
for start in range(0, len(shared), 4096):
    shared[start] = 1
for _ in range(4):
    if os.fork() == 0:
        time.sleep(1.5)
        os._exit(0)
for _ in range(4):
    os.wait()
"""


def on_this_machine(step: Step, program: str) -> Outcome:
    command = (sys.executable, "-c", program)
    return step.execute(command, root=RootFilesystem(path=Path("/")))


def test_what_processes_share_counts_once(small_step: Step) -> None:
    """All of them together have 500 MiB if each has what it shares."""
    assert on_this_machine(limited(small_step, 200), READERS).result.ending is Ending.EXITED
    assert on_this_machine(limited(small_step, 80), READERS).result.ending is Ending.MEMORY_LIMIT


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine has one processor")
def test_a_step_has_as_many_processors_as_it_may(step: Step) -> None:
    one = replace(step, sandbox=replace(step.sandbox, cpu_limit=0.5))
    assert one.run("busybox nproc").stdout == "1\n"
    every = len(os.sched_getaffinity(0))
    more = replace(step, sandbox=replace(step.sandbox, cpu_limit=every + 0.5))
    assert more.run("busybox nproc").stdout == f"{every}\n"
    assert len(os.sched_getaffinity(0)) == every


SAYS = """
import os
from cwl_udss.runtimes.accounting.memory_group import MemoryGroup
from cwl_udss.runtimes.affinity import processors_for_children
with processors_for_children(1):
    print(*os.sched_getaffinity(0))
"""


def take_one(taken: contextlib.ExitStack) -> set[int]:
    with processors_for_children(1) as stack:
        taken.push(stack.pop_all())
        return os.sched_getaffinity(0)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine has one processor")
def test_steps_beside_each_other_have_different_processors() -> None:
    """Those of other processes count, too; there is always one to be had."""
    number = len(os.sched_getaffinity(0))
    with contextlib.ExitStack() as taken:
        assert set.union(*(take_one(taken) for _ in range(number))) == os.sched_getaffinity(0)
        assert len(take_one(taken)) == 1
    with contextlib.ExitStack() as taken:
        ours = set.union(*(take_one(taken) for _ in range(number - 1)))
        done = subprocess.run(
            [sys.executable, "-c", SAYS], stdout=subprocess.PIPE, text=True, check=True
        )
        assert os.sched_getaffinity(0) - ours == {int(done.stdout)}
