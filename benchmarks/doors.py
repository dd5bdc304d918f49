# SPDX-License-Identifier: Apache-2.0
"""What a container costs whose caller takes us for podman: against the real one, and what of it is
Python's start."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from measure import (
    COMMANDS,
    Finding,
    Run,
    bubblewrap,
    print_findings,
    print_table,
    ratio,
    run,
    run_in_turn,
    setting,
)
from peers import podman

from cwl_udss.doors.shims import install

IMAGE = "docker.io/library/busybox:1.36"
OURS, REAL, BARE, PYTHON = "the door", "podman", "bwrap alone", "python -IS -c pass"
STARTS = 15
MOST_MILLISECONDS, MOST_OF_REAL = 60, 0.4


def main() -> list[Finding]:
    """Print what a container of `true` takes; return what was found for the bars."""
    with setting() as here, podman(here.scratch / "podman") as real:
        (door,) = install(here.scratch / "doors", ["podman"])
        run([door, "pull", "--quiet", IMAGE], here.environment)
        run([*real, "pull", "--quiet", IMAGE], here.environment)
        # With one podman starts another program, which is not installed everywhere.
        command = ("run", "--rm", "--network=none", IMAGE, "true")
        commands: dict[str, list[str | Path]] = {
            OURS: [door, *command],
            REAL: [*real, *command],
            BARE: [bubblewrap(), "--unshare-all", "--ro-bind", "/", "/", "true"],
            PYTHON: [COMMANDS / Path(sys.executable).name, "-IS", "-c", "pass"],
        }
        results = run_in_turn(commands, here.environment, STARTS, peers=[REAL])
    print_table("podman run --rm IMAGE true", results, OURS)
    return findings(results)


def findings(results: dict[str, list[Run]]) -> list[Finding]:
    """Return what was found for the bars."""
    median = statistics.median(one.seconds for one in results[OURS])
    found = [Finding("run through the door", 1000 * median, MOST_MILLISECONDS, " ms")]
    if REAL in results:
        against = ratio(results[OURS], results[REAL])
        found.append(Finding("run through the door, podman's share", against, MOST_OF_REAL))
    return found


if __name__ == "__main__":
    print_findings(main())
