# SPDX-License-Identifier: Apache-2.0
"""What a pilot's allocations have, and which steps that is too little for."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwl_udss.batch.pilots.capacity import Capacity, plan_capacity
from cwl_udss.batch.systems.system import BatchError, Resources
from cwl_udss.machine.resources import available_resources
from cwl_udss.settings.config import load_settings


def plan(directory: Path, **options: str) -> Capacity:
    given = {f"udss_{name}": value for name, value in options.items()}
    settings = load_settings(given, {}, directory, site_file=directory / "none")
    return plan_capacity(settings, {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"batch": "slurm", "batch_cores": "8", "pilot_cores": "9"},
            "a step gets 9 cores (--udss-pilot-cores), a node has 8 (--udss-batch-cores)",
        ),
        ({"batch": "local", "pilot_cores": "4096"}, "this machine"),
    ],
)
def test_a_step_that_no_node_can_run_is_refused(
    tmp_path: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(BatchError) as raised:
        plan(tmp_path, **options)
    assert message in str(raised.value)


def test_nobody_can_tell_what_other_machines_have(tmp_path: Path) -> None:
    there = plan(tmp_path, batch="pbs", pilot_cores="4096")
    assert (there.cores, there.steps_per_node, there.step_memory) == (4096, 1, None)


def test_a_step_gets_its_share_of_a_node(tmp_path: Path) -> None:
    half = plan(tmp_path, batch="slurm", batch_cores="8", pilot_cores="4", batch_memory="16G")
    assert (half.steps_per_node, half.step_memory) == (2, 8 << 10)
    here = plan(tmp_path, batch="local")
    assert here.step_memory is not None
    assert here.step_memory <= available_resources({}).ram * 2


CAPACITY = Capacity(nodes=2, cores=8, step_cores=4, step_memory=8 << 10, most=3)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Resources(cores=4, memory=8 << 10, walltime=None), None),
        (Resources(cores=1, memory=None, walltime=None), None),
        (Resources(cores=5, memory=None, walltime=None), "asks for 5 cores"),
        (Resources(cores=1, memory=9 << 10, walltime=None), "asks for 9 GB of memory"),
    ],
)
def test_a_step_that_asks_for_more_than_it_gets_is_refused(
    asked: Resources, message: str | None
) -> None:
    if message is None:
        CAPACITY.check(asked)
        return
    with pytest.raises(BatchError) as raised:
        CAPACITY.check(asked)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("steps", "living", "failed", "wanted"),
    [
        (0, 0, 0, 0),
        (1, 0, 0, 1),
        (4, 1, 0, 0),
        (5, 1, 0, 1),
        (100, 1, 0, 2),
        (100, 1, 1, 1),
        (100, 0, 3, 0),
        (1, 3, 0, 0),
    ],
)
def test_as_many_allocations_as_steps_need(
    steps: int, living: int, failed: int, wanted: int
) -> None:
    assert CAPACITY.wanted(steps=steps, living=living, failed=failed) == wanted
