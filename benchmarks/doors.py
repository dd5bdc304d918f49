# SPDX-License-Identifier: Apache-2.0
"""What a container costs whose caller takes us for podman, or for Apptainer: against the real ones,
and what of it is Python's start."""

from __future__ import annotations

import shutil
import statistics
import sys
from pathlib import Path

from measure import (
    COMMANDS,
    Finding,
    Run,
    Setting,
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
STORED, FILE, APPTAINER = "the door, from the store", "the door, from a SIF", "apptainer"
STARTS = 15
MOST_MILLISECONDS, MOST_OF_PODMAN, MOST_OF_APPTAINER = 60, 0.4, 0.5


def main() -> list[Finding]:
    """Print what a container of `true` takes; return what was found for the bars."""
    with setting() as here:
        return [*_podman(here), *_apptainer(here)]


def _podman(here: Setting) -> list[Finding]:
    with podman(here.scratch / "podman") as real:
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
    median = statistics.median(one.seconds for one in results[OURS])
    found = [Finding("run through the door", 1000 * median, MOST_MILLISECONDS, " ms")]
    return [*found, *_against(results, OURS, REAL, MOST_OF_PODMAN)]


def _apptainer(here: Setting) -> list[Finding]:
    (door,) = install(here.scratch / "doors", ["apptainer"])
    file = here.scratch / "image.sif"
    run([door, "pull", file, f"docker://{IMAGE}"], here.environment)
    commands: dict[str, list[str | Path]] = {
        STORED: [door, "exec", f"docker://{IMAGE}", "true"],
        FILE: [door, "exec", file, "true"],
    }
    real = shutil.which("apptainer")
    if real is not None:
        commands[APPTAINER] = [real, "exec", file, "true"]
    results = run_in_turn(commands, here.environment, STARTS, peers=[APPTAINER])
    print_table("apptainer exec IMAGE true", results, STORED)
    return _against(results, STORED, APPTAINER, MOST_OF_APPTAINER)


def _against(results: dict[str, list[Run]], ours: str, real: str, most: float) -> list[Finding]:
    """What the door takes of what the real program does, if that runs here."""
    if real not in results:
        return []
    share = ratio(results[ours], results[real])
    return [Finding(f"run through the door, share of {real}", share, most)]


if __name__ == "__main__":
    print_findings(main())
