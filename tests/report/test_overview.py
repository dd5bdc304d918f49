# SPDX-License-Identifier: Apache-2.0
"""Where a run stands, for a terminal."""

from __future__ import annotations

import pytest
from reports import BEGAN, begin, end, node, step

from cwl_udss.report.overview import overview
from cwl_udss.report.record import Status
from cwl_udss.report.run import Run

NODES = (node("make"), node("call/sort", "make"), node("count", has_jobs=False), node("last"))
STEPS = [
    step(1, "make", 0, 2),
    step(2, "call/sort", 2, 62, index=1, status=Status.CACHED),
    step(3, "call/sort", 2, 3, index=2, status=Status.RUNNING),
    step(4, "call/sort", 2, 3, index=3, status=Status.SUBMITTED),
    step(
        *(5, "call/sort", 2, 4),
        index=4,
        status=Status.FAILED,
        exit_code=7,
        directory="/runs/1/steps/sort",
    ),
]


def run_of(*, ended: int | None = None, **more: object) -> Run:
    return Run(
        begin=begin(*NODES, run_directory="/runs/1", **more),
        steps=STEPS,
        end=None if ended is None else end(ended, 65),
        now=BEGAN + 65,
    )


def test_a_run_that_goes_on() -> None:
    assert overview(run_of(), ["login1.17"], 80) == [
        "/work/count.cwl: running for 1m 5s, driven by login1.17",
        "             done running waiting  failed  time of all",
        "make            1       -       -       -           2s",
        "call/sort       1       1       1       1        1m 4s",
        "last            -       -       -       -          0ms",
        "all             2       1       1       1        1m 6s",
        "failed: call/sort (4): exit code 7; see /runs/1/steps/sort",
    ]


def test_what_to_type_to_go_on() -> None:
    for run in (run_of(), run_of(ended=1)):
        assert overview(run, [], 80)[-1] == (
            "to go on: cd /work && cwltool --udss-resume /runs/1 --udss count.cwl"
        )
    again = ("cwltool", "--udss", "--udss-resume=/runs/1", "count.cwl")
    assert overview(run_of(command=again), [], 80)[-1].endswith(" ".join(again))
    assert "go on" not in " ".join(overview(run_of(ended=0), [], 80))


@pytest.mark.parametrize("width", [1, 20, 59])
def test_a_narrow_terminal(width: int) -> None:
    assert overview(run_of(ended=1), [], width)[:5] == [
        "/work/count.cwl: failed after 1m 5s, exit code 1",
        "2/5 done",
        "1 running",
        "1 waiting",
        "1 failed",
    ]


def test_names_have_no_say_over_the_terminal() -> None:
    name = "a\x1b[31m\n" + 100 * "b"
    run = Run(begin=begin(node(name)), steps=[step(1, name, 0, 1)], end=None, now=BEGAN)
    lines = overview(run, [], 80)
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines[1:])) <= 80


def test_many_failures() -> None:
    failed = [step(number, "make", 0, number, status=Status.FAILED) for number in range(1, 9)]
    run = Run(begin=begin(*NODES), steps=failed, end=end(1), now=BEGAN)
    lines = overview(run, [], 80)
    assert [line.startswith("failed: ") for line in lines].count(True) == 5
    assert lines[-1] == "and 3 others failed"
