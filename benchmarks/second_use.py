# SPDX-License-Identifier: Apache-2.0
"""What the use of a SIF file costs that is in a library: against the same root filesystem as a
directory, while its mount is held, and when it has just been given up."""

from __future__ import annotations

import time
from pathlib import Path

from measure import COMMANDS, Finding, Run, in_turn, print_table, run, setting

from cwl_udss.images.node.mount_holder import IDLE_SECONDS

IMAGE = "docker.io/library/debian:stable-slim"
DIRECTORY, HELD, ANEW = "a directory", "a SIF file of a library, mounted", "the same, mounted anew"
REPETITIONS = 15


def main() -> list[Finding]:
    """Print the table, and return what there is a bar for."""
    with setting() as here:
        place = here.scratch / "library"
        place.mkdir()
        environment = {**here.environment, "CWL_UDSS_FORMAT": "directory"}
        run([COMMANDS / "cwl-udss", "images", "pull", IMAGE], environment)
        link = ("images", "link", place, "--naming", "nextflow", IMAGE)
        run([COMMANDS / "cwl-udss", *link], environment)
        elsewhere = {**here.environment, "CWL_UDSS_STORE": f"{here.scratch}/other"}

        def use(variables: dict[str, str], idle: float = 0) -> Run:
            time.sleep(idle)
            return run([COMMANDS / "cwl-udss", "run", IMAGE, "true"], variables)

        library = {**elsewhere, "CWL_UDSS_LIBRARY": f"nextflow:{place}"}
        results = in_turn(
            {
                DIRECTORY: lambda: use(environment),
                HELD: lambda: (use(library), use(library))[1],
                ANEW: lambda: use(library, idle=IDLE_SECONDS + 1),
            },
            REPETITIONS,
        )
        copied = sum(
            path.stat().st_size for path in Path(f"{here.scratch}/other").rglob("images/*")
        )
    print_table("one command in an image", results, DIRECTORY)
    return [
        Finding(
            f"{name}: more than {DIRECTORY}", more(results[name], results[DIRECTORY]), 30, " ms"
        )
        for name in (HELD, ANEW)
    ] + [Finding("copied of it", copied, 0, " bytes")]


def more(runs: list[Run], others: list[Run]) -> float:
    """The median of the differences, in milliseconds."""
    differences = sorted(a.seconds - b.seconds for a, b in zip(runs, others, strict=True))
    return differences[len(differences) // 2] * 1000
