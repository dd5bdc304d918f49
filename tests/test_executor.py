# SPDX-License-Identifier: Apache-2.0
"""Which step runs when, side by side: the executor with jobs that only note that they have run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

from cwltool.context import RuntimeContext
from cwltool.job import JobBase
from cwltool.process import Process
from effort import LINEAR, lines

from cwl_udss.executor import BatchExecutor, ParallelExecutor
from cwl_udss.machine.resources import Resources


class Run:
    """One run of a process with such jobs, on a machine of so many cores."""

    def __init__(
        self, cores: int, jobs: list[tuple[str, int]], ends_after: dict[str, str] | None = None
    ) -> None:
        """`jobs` are names and cores, in the order in which they are made; those in `ends_after`
        end when that other one has started."""
        self._jobs = jobs
        self.ends_after = ends_after or {}
        self.lock = threading.Condition(threading.RLock())
        self.ended = 0
        self.started: list[str] = []
        self.executor = ParallelExecutor(Resources(cores=cores, ram=1000), lambda: None)

    def job(self, *arguments: Any) -> Iterator[JobBase | None]:
        """As a process, hand out the jobs."""
        for name, cores in self._jobs:
            yield NotingJob(self, name, cores)
        while self.ended < len(self._jobs):
            yield None

    def run(self) -> None:
        context = RuntimeContext()
        context.workflow_eval_lock = self.lock
        self.executor.run_jobs(cast(Process, self), {}, logging.getLogger("test"), context)


class NotingJob(JobBase):
    def __init__(self, run: Run, name: str, cores: int) -> None:
        builder: Any = SimpleNamespace(resources={"cores": cores, "ram": 1})
        super().__init__(builder, {}, cast(Any, None), [], [], name)
        self._run = run

    def run(self, *arguments: Any) -> None:
        with self._run.lock:
            self._run.started.append(self.name)
            self._run.lock.notify_all()
            other = self._run.ends_after.get(self.name, self.name)
            assert self._run.lock.wait_for(lambda: other in self._run.started, timeout=10)
            self._run.ended += 1

    def _required_env(self) -> dict[str, str]:
        return {}


def test_steps_start_in_their_order() -> None:
    run = Run(1, [(str(number), 1) for number in range(50)])
    run.run()
    assert run.started == [str(number) for number in range(50)]


def test_a_step_that_fits_goes_before_one_that_does_not() -> None:
    jobs = [("long", 1), ("large", 2), ("short", 1), ("second", 2)]
    run = Run(2, jobs, ends_after={"long": "short"})
    run.run()
    assert set(run.started[:2]) == {"long", "short"}
    assert run.started[2:] == ["large", "second"]


def test_of_those_that_fit_the_first_starts() -> None:
    run = Run(2, [("first", 2), ("second", 1), ("large", 2), ("third", 1)])
    run.run()
    assert run.started[0] == "first"
    assert set(run.started[1:3]) == {"second", "third"}


def test_each_step_costs_the_same() -> None:
    few, many = (lines(Run(3, [("large", 2)] * size).run) for size in (50, 200))
    assert many < LINEAR * few


def test_resources_that_only_cwltool_knows_are_passed_on() -> None:
    asked = {
        f"{name}{end}": 1.5
        for name in ("cores", "ram", "tmpdir", "outdir", "antennas")
        for end in ("Min", "Max")
    }
    got = {"cores": 2, "ram": 2, "tmpdirSize": 2, "outdirSize": 2, "antennas": 2}
    here = ParallelExecutor(Resources(cores=4, ram=1000), lambda: None)
    assert here.select_resources(asked, RuntimeContext()) == got
    assert BatchExecutor(10, 4, lambda: None, ()).select_resources(asked, RuntimeContext()) == got
