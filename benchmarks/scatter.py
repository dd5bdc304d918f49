# SPDX-License-Identifier: Apache-2.0
"""What a step costs where there are many: scattered `cat` steps; steps that sleep side by side."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from measure import COMMANDS, Run, Setting, in_turn, machine, print_table, run, setting
from rich.console import Console
from rich.table import Table

WORKFLOWS = Path(__file__).parent / "workflows"
START = 1  # a run with one step is start-up, which no step is charged for
FEW = 500
STEPS: Mapping[str, Sequence[int]] = {
    "cwltool --no-container": (START, FEW, 2000),
    "cwltool --udss": (START, FEW, 2000, 5000),
    "cwltool --udss --parallel": (START, FEW, 2000, 5000),
}
REPETITIONS = 3
SLEEPS = 200
SECONDS = "0.1"
AT_ONCE = 2
SANDBOX = (
    *("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
    *("--unshare-all", "--die-with-parent"),
)
Results = Mapping[tuple[str, int], Sequence[Run]]


def main() -> None:
    """Print the tables."""
    with setting() as here:
        (here.scratch / "input.txt").write_text("content\n")
        print_costs(in_turn(cat_steps(here), REPETITIONS))
        results = in_turn(sleeping_steps(here))
    print_table(
        f"{SLEEPS} steps of {SECONDS} s, {AT_ONCE} at once",
        results,
        "xargs bwrap",
        "bar: cwltool at most 1.15 × xargs",
    )


def cat_steps(here: Setting) -> dict[tuple[str, int], partial[Run]]:
    """Runs by what runs them, and how many steps."""
    return {
        (contestant, steps): partial(run, command(here, contestant, "cat", steps), here.environment)
        for contestant, numbers in STEPS.items()
        for steps in numbers
    }


def sleeping_steps(here: Setting) -> dict[str, partial[Run]]:
    """Steps side by side, and the same without cwltool."""
    xargs = f"seq {SLEEPS} | xargs -P {AT_ONCE} -I {{}} {' '.join(SANDBOX)} sleep {SECONDS}"
    ours = f"cwltool --udss --parallel --parallel-max {AT_ONCE}"
    return {
        "xargs bwrap": partial(run, ["sh", "-c", xargs], here.environment),
        "cwltool --udss": partial(run, command(here, ours, "sleep", SLEEPS), here.environment),
        "its start-up": partial(run, command(here, ours, "sleep", START), here.environment),
    }


def command(here: Setting, contestant: str, tool: str, steps: int) -> list[str | Path]:
    """Return what runs a tool so many times."""
    job = here.scratch / f"{steps}.json"
    file = {"class": "File", "location": "input.txt"}
    job.write_text(json.dumps({"numbers": list(range(steps)), "file": file, "seconds": SECONDS}))
    program, *options = contestant.split()
    options += ["--quiet", "--outdir", str(here.scratch / "out")]
    return [COMMANDS / program, *options, WORKFLOWS / f"{tool}-many.cwl", job]


def print_costs(results: Results) -> None:
    """Print what a step costs by how many there are."""
    table = Table(
        title="scattered cat steps, warm",
        caption=f"bars for --udss: 5,000 at most 1.2 × {FEW}, 12 ms of its own; {machine()}",
        title_justify="left",
    )
    for heading in ("", "steps", "s", "ms a step", f"× {FEW}", "own CPU ms a step", "KB a step"):
        table.add_column(heading, justify="left" if not heading else "right")
    for (contestant, steps), runs in results.items():
        if steps == START:
            continue
        starts, few = results[contestant, START], results[contestant, FEW]
        costs = [cost(*pair, steps) for pair in zip(runs, starts, strict=True)]
        yardstick = [cost(*pair, FEW) for pair in zip(few, starts, strict=True)]
        growth = [one.seconds / other.seconds for one, other in zip(costs, yardstick, strict=True)]
        figures = (
            statistics.median(run.seconds for run in runs),
            1000 * statistics.median(cost.seconds for cost in costs),
            statistics.median(growth),
            1000 * statistics.median(cost.own_seconds for cost in costs),
            1024 * statistics.median(cost.megabytes for cost in costs),
        )
        table.add_row(contestant, f"{steps:,}", *(f"{figure:.2f}" for figure in figures))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def cost(run: Run, start: Run, steps: int) -> Run:
    """Return what one step of a run has cost."""
    return Run(
        (run.seconds - start.seconds) / steps,
        (run.own_seconds - start.own_seconds) / steps,
        (run.megabytes - start.megabytes) / steps,
    )


if __name__ == "__main__":
    main()
