# SPDX-License-Identifier: Apache-2.0
"""A pipeline of Nextflow with many short tasks: by the door podman, and by the real one.

Needs `nextflow` and podman in PATH.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from measure import Finding, Run, print_findings, print_table, ratio, run, run_in_turn, setting
from peers import podman

from cwl_udss.doors.shims import install

IMAGE = "docker.io/library/debian:stable-slim"
OURS, REAL, NONE = "the door", "podman", "no container"
TASKS, SECONDS, AT_ONCE = 100, 1, 10
REPETITIONS = 3
MOST_OF_REAL = 0.8
PIPELINE = f"""\
workflow {{ SLEEP(Channel.of(1..{TASKS})) }}

process SLEEP {{
    input: val number
    script: 'sleep {SECONDS}'
}}
"""
# As on a machine of so many cores; Nextflow itself looks for ended tasks ten times a second.
# With a network podman starts another program, which is not installed everywhere.
CONFIGURATION = f"""\
executor {{ cpus = {AT_ONCE}; memory = '32 GB' }}
podman.runOptions = '--network=none'
"""


def main() -> list[Finding]:
    """Print what such a pipeline takes; return what was found for the bar."""
    nextflow = shutil.which("nextflow")
    if nextflow is None or shutil.which("podman") is None:
        return []
    with setting() as here, podman(here.scratch / "podman") as real:
        doors, reals = here.scratch / "doors", here.scratch / "reals"
        (door,) = install(doors, ["podman"])
        reals.mkdir()
        (reals / "podman").write_text(f'#!/bin/sh\nexec {" ".join(real)} "$@"\n')
        (reals / "podman").chmod(0o755)
        for program in (door, reals / "podman"):
            run([program, "pull", "--quiet", IMAGE], here.environment)
        work = here.scratch / "work"
        work.mkdir()
        (work / "main.nf").write_text(PIPELINE)
        (work / "nextflow.config").write_text(CONFIGURATION)

        def command(directory: Path, *options: str) -> list[str | Path]:
            path = f"PATH={directory}:{here.environment['PATH']}"
            return ["env", "-C", work, path, nextflow, "run", "main.nf", *options]

        contained = ("-with-podman", IMAGE)
        commands = {
            OURS: command(doors, *contained),
            REAL: command(reals, *contained),
            NONE: command(doors),
        }
        results = run_in_turn(commands, here.environment, REPETITIONS, peers=[REAL, NONE])
    title = f"Nextflow: {TASKS} tasks of {SECONDS} s, {AT_ONCE} at once"
    print_table(title, results, OURS)
    return findings(results)


def findings(results: dict[str, list[Run]]) -> list[Finding]:
    """Return what was found for the bar."""
    if REAL not in results:
        return []
    against = ratio(results[OURS], results[REAL])
    return [Finding("a pipeline of Nextflow, podman's share", against, MOST_OF_REAL)]


if __name__ == "__main__":
    print_findings(main())
