# SPDX-License-Identifier: Apache-2.0
"""What a step costs where there are many: scattered `cat` steps; steps that sleep side by side."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from measure import (
    COMMANDS,
    Finding,
    Run,
    Setting,
    bubblewrap,
    input_object,
    print_findings,
    print_rows,
    print_table,
    ratio,
    run,
    run_in_turn,
    setting,
)

WORKFLOWS = Path(__file__).parent / "workflows"
START = 1  # a run with one step is start-up, which no step is charged for
FEW = 500
MANY = 5000
OURS = "cwltool --udss"
STEPS: Mapping[str, Sequence[int]] = {
    "cwltool --no-container": (START, FEW, 2000),
    OURS: (START, FEW, MANY),
    f"{OURS} --parallel": (START, FEW, MANY),
}
SLEEPS = 200
SECONDS = 0.1
AT_ONCE = 2
YARDSTICK = "xargs bwrap"
SANDBOX = (
    *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
    *("--unshare-all", "--die-with-parent"),
)
Results = Mapping[tuple[str, int], Sequence[Run]]


def main() -> list[Finding]:
    """Print the tables."""
    with setting() as here:
        run(command(here, OURS, "cat", START), here.environment)  # the image, and caches
        cats = run_in_turn(cat_steps(here), here.environment, rehearse=False)
        sleeps = run_in_turn(sleeping_steps(here), here.environment)
    print_costs(cats)
    print_table(f"{SLEEPS} steps of {SECONDS} s, {AT_ONCE} at once", sleeps, YARDSTICK)
    many = median_cost(cats, OURS, MANY)
    return [
        Finding(f"cost of a step at {MANY:,} steps: × at {FEW}", growth(cats, OURS, MANY), 1.2),
        Finding("the same, --parallel", growth(cats, f"{OURS} --parallel", MANY), 1.2),
        Finding("the driver's own processor time for a step", 1000 * many.own_seconds, 12, " ms"),
        Finding("growth of the driver's memory for a step", 1024 * many.megabytes, 20, " KB"),
        Finding(
            f"{SLEEPS} steps of {SECONDS} s, --parallel: × xargs -P{AT_ONCE} bwrap",
            ratio(sleeps[OURS], sleeps[YARDSTICK]),
            1.15,
        ),
    ]


def cat_steps(here: Setting) -> dict[tuple[str, int], list[str | Path]]:
    """Commands by what is run, and how many steps."""
    return {
        (contestant, steps): command(here, contestant, "cat", steps)
        for contestant, numbers in STEPS.items()
        for steps in numbers
    }


def sleeping_steps(here: Setting) -> dict[str, list[str | Path]]:
    """Steps side by side, and the same without cwltool."""
    sandbox = " ".join((bubblewrap(), *SANDBOX))
    xargs = f"seq {SLEEPS} | xargs -P {AT_ONCE} -I {{}} {sandbox} sleep {SECONDS}"
    ours = f"{OURS} --parallel --parallel-max {AT_ONCE}"
    return {
        YARDSTICK: ["sh", "-c", xargs],
        OURS: command(here, ours, "sleep", SLEEPS),
        "its start-up": command(here, ours, "sleep", START),
    }


def command(here: Setting, contestant: str, tool: str, steps: int) -> list[str | Path]:
    """Return what runs a tool so many times."""
    program, *options = contestant.split()
    options += ["--quiet", "--outdir", str(here.scratch / "out")]
    workflow = WORKFLOWS / f"{tool}-many.cwl"
    return [COMMANDS / program, *options, workflow, input_object(here, steps, SECONDS)]


def print_costs(results: Results) -> None:
    """Print what a step costs by how many there are."""
    rows = []
    for contestant, steps in results:
        if steps == START:
            continue
        median = median_cost(results, contestant, steps)
        figures = (
            statistics.median(run.seconds for run in results[contestant, steps]),
            1000 * median.seconds,
            growth(results, contestant, steps),
            1000 * median.own_seconds,
            1024 * median.megabytes,
        )
        rows.append((contestant, f"{steps:,}", *(f"{figure:.2f}" for figure in figures)))
    headings = ("steps", "s", "ms a step", f"× {FEW}", "own CPU ms a step", "KB a step")
    print_rows("scattered cat steps, warm", ("", *headings), rows)


def growth(results: Results, contestant: str, steps: int) -> float:
    """Return what a step costs, in terms of what one of few does."""
    return ratio(costs(results, contestant, steps), costs(results, contestant, FEW))


def median_cost(results: Results, contestant: str, steps: int) -> Run:
    """Return the medians of what a step costs."""
    runs = costs(results, contestant, steps)
    return Run(
        statistics.median(run.seconds for run in runs),
        statistics.median(run.own_seconds for run in runs),
        statistics.median(run.megabytes for run in runs),
    )


def costs(results: Results, contestant: str, steps: int) -> list[Run]:
    """Return what a step has cost in each run."""
    pairs = zip(results[contestant, steps], results[contestant, START], strict=True)
    return [
        Run(
            (run.seconds - start.seconds) / steps,
            (run.own_seconds - start.own_seconds) / steps,
            (run.megabytes - start.megabytes) / steps,
        )
        for run, start in pairs
    ]


if __name__ == "__main__":
    print_findings(main())
