# SPDX-License-Identifier: Apache-2.0
"""Where the driver's time goes, as `--udss-trace-events` says; what that costs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

from measure import (
    Finding,
    print_findings,
    print_rows,
    print_table,
    ratio,
    run,
    run_in_turn,
    setting,
)
from scatter import OURS, START, command

STEPS = 500
REPETITIONS = 9  # the difference is small
TRACED = f"{OURS} --udss-trace-events"


def main() -> list[Finding]:
    """Print both."""
    with setting() as here:
        trace = here.scratch / "trace.json"
        run(command(here, OURS, "cat", START), here.environment)
        commands = {OURS: OURS, TRACED: f"{TRACED} {trace}"}
        results = run_in_turn(
            {name: command(here, line, "cat", STEPS) for name, line in commands.items()},
            here.environment,
            REPETITIONS,
        )
        print_times(trace)
    print_table(f"{STEPS} cat steps, serial, warm", results, OURS)
    return [
        Finding(
            "cost of --udss-trace-events: × without", ratio(results[TRACED], results[OURS]), 1.01
        )
    ]


def print_times(trace: Path) -> None:
    """Print what the events of a trace add up to."""
    events = [event for event in json.loads(trace.read_text()) if event["ph"] == "X"]
    milliseconds: defaultdict[str, float] = defaultdict(float)
    for event in events:
        milliseconds[event["name"]] += event["dur"] / 1000
    counts = Counter(event["name"] for event in events)
    rows = [
        (name, f"{counts[name]:,}", f"{all_:.0f}", f"{all_ / counts[name]:.2f}")
        for name, all_ in milliseconds.items()
    ]
    print_rows(f"where the time of {STEPS} steps goes", ("", "times", "ms", "ms each"), rows)


if __name__ == "__main__":
    print_findings(main())
