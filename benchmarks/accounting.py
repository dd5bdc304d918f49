# SPDX-License-Identifier: Apache-2.0
"""What it costs to say what a step has used: processor time of who runs it, for a step that is over
in milliseconds, and while one of many processes, or of much memory, runs."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import replace
from functools import partial
from unittest import mock

from measure import Finding, in_turn, print_findings, print_rows, setting
from sandbox import SMALL, enter, root, sandbox

from cwl_udss.runtimes.accounting.watch import Watch
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap
from cwl_udss.sandbox import Runtime, Sandbox

SHORT_STEPS = 40
SHORT, UNSEEN = "a step of milliseconds", "the same, never looked at"
SECONDS = 10
# For how long, and with what, is up to the shell.
LONG = {
    "while thirty processes run": f"for i in $(seq 30); do sleep {SECONDS} & done; wait",
    "while four have 1 GB together": "for i in 1 2 3 4; do (dd if=/dev/zero bs=250M count=1 "
    f"2>/dev/null | sleep {SECONDS}) & done; wait",
}


def main() -> list[Finding]:
    """Print the table, and return what there is a bar for."""
    runtime = find_bubblewrap(None)
    with setting() as here:
        step = sandbox(here, root(here, SMALL))
        true = replace(step, command=("true",))
        short = in_turn(
            {SHORT: partial(spent, runtime, true), UNSEEN: partial(unseen, runtime, true)}
        )
        scripts = {name: replace(step, command=("sh", "-c", text)) for name, text in LONG.items()}
        long = in_turn({name: partial(share, runtime, script) for name, script in scripts.items()})
    medians = {name: statistics.median(figures) for name, figures in (short | long).items()}
    rows = [(name, f"{medians[name]:.2f} ms a step") for name in short]
    rows += [(name, f"{medians[name]:.2f} % of a processor") for name in long]
    print_rows("processor time of who runs a step", ("", "median"), rows)
    looking = statistics.median(
        one - other for one, other in zip(short[SHORT], short[UNSEEN], strict=True)
    )
    return [
        Finding(f"looking at {SHORT}", looking, 0.5, " ms"),
        *(Finding(f"looking {name}", medians[name], 1, " %") for name in LONG),
    ]


def spent(runtime: Runtime, step: Sandbox) -> float:
    """Return what a step takes of our own processor time, in milliseconds."""
    before = time.process_time()
    for _ in range(SHORT_STEPS):
        enter(runtime, step)
    return 1000 * (time.process_time() - before) / SHORT_STEPS


def unseen(runtime: Runtime, step: Sandbox) -> float:
    """Return the same without a look at the step's processes."""
    with mock.patch.object(Watch, "look", lambda watch: setattr(watch, "next", math.inf)):
        return spent(runtime, step)


def share(runtime: Runtime, step: Sandbox) -> float:
    """Return which part of a processor we take while a step runs, in hundredths."""
    before, began = time.process_time(), time.monotonic()
    enter(runtime, step)
    return 100 * (time.process_time() - before) / (time.monotonic() - began)


if __name__ == "__main__":
    print_findings(main())
