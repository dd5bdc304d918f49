# SPDX-License-Identifier: Apache-2.0
"""Which steps a run waited for, and what steps should ask for."""

from __future__ import annotations

import pytest
from reports import node, step

from cwl_udss.report.analysis import critical_path, needs
from cwl_udss.report.record import Asked, Status

GIB = 1 << 30


def test_the_path_that_decided() -> None:
    nodes = [
        node("a"),
        node("b"),
        node("expression", "b", has_jobs=False),
        node("last", "a", "expression"),
        node("aside", "a"),
    ]
    steps = [
        step(1, "a", 0, 3),
        step(2, "b", 0, 2, index=1),
        step(3, "b", 0, 5, index=2),
        step(4, "last", 5, 9),
        step(5, "aside", 3, 8),
    ]
    assert [found.number for found in critical_path(steps, nodes)] == [3, 4]


def test_a_path_of_nothing() -> None:
    assert critical_path([], [node("a")]) == []


@pytest.mark.parametrize(
    ("used", "asked", "advice"),
    [
        pytest.param(GIB, None, ("ResourceRequirement:", "  ramMin: 1280"), id="nothing asked"),
        pytest.param(GIB, 16 * GIB, ("ResourceRequirement:", "  ramMin: 1280"), id="too much"),
        pytest.param(2 * GIB, GIB, ("ResourceRequirement:", "  ramMin: 2560"), id="too little"),
        pytest.param(GIB, GIB + GIB // 4, (), id="right"),
        pytest.param(GIB, 2 * GIB, (), id="right enough"),
    ],
)
def test_advice_on_memory(used: int, asked: int | None, advice: tuple[str, ...]) -> None:
    found = needs("a", [step(1, "a", 0, 5, memory=used, asked=Asked(memory_bytes=asked))])
    assert found.advice == advice


def test_advice_on_cores_and_time() -> None:
    asked = Asked(cores=1, memory_bytes=GIB, seconds=86_400)
    found = needs("a", [step(1, "a", 0, 90, memory=800 << 20, processors=3.6, asked=asked)])
    assert found.advice == (
        "ResourceRequirement:",
        "  coresMin: 4",
        "ToolTimeLimit:",
        "  timelimit: 180",
    )


def test_no_advice_by_what_has_failed() -> None:
    jobs = [step(1, "a", 0, 5, status=Status.FAILED, asked=Asked(memory_bytes=64 * GIB))]
    assert needs("a", jobs).advice == ()


def test_the_median_and_the_most() -> None:
    jobs = [step(number, "a", 0, number, memory=number) for number in (1, 2, 9)]
    found = needs("a", jobs)
    assert (found.jobs, found.seconds, found.memory_bytes) == (3, (2, 9), (2, 9))
