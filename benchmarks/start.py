# SPDX-License-Identifier: Apache-2.0
"""What a start costs: a workflow of one `cat` step, warm, run and only validated."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from measure import COMMANDS, Finding, in_turn, print_findings, print_table, ratio, run, setting
from peers import cwltool_peers

WORKFLOW = Path(__file__).parent / "workflows" / "cat-one.cwl"
YARDSTICK = "cwltool --no-container"
OURS = "cwltool --udss"


def main() -> list[Finding]:
    """Print a table for each."""
    with setting() as here, cwltool_peers(here) as peers:
        environment = {**here.environment, "XDG_CACHE_HOME": f"{here.scratch}/caches"}
        (here.scratch / "input.txt").write_text("content\n")
        inputs: list[str | Path] = [WORKFLOW, "--file", here.scratch / "input.txt"]
        options: list[str | Path] = ["--quiet", "--outdir", here.scratch / "out"]
        # cwltool's own command, not the one that takes its place.
        contestants: dict[str, list[str | Path]] = {
            YARDSTICK: [sys.executable, "-m", "cwltool", "--no-container", *options],
            OURS: [COMMANDS / "cwltool", "--udss", *options],
        }
        ran = in_turn(
            {
                name: partial(run, [*command, *inputs], environment)
                for name, command in {**contestants, **peers}.items()
            },
            peers=peers,
        )
        validated = in_turn(
            {
                name: partial(run, [*command, "--validate", *inputs], environment)
                for name, command in contestants.items()
            }
        )
    print_table("a workflow of one step, run, warm", ran, YARDSTICK)
    print_table("a workflow of one step, validated, warm", validated, YARDSTICK)
    found = {
        "start, one step: × cwltool --no-container": ran,
        "start, --validate: × cwltool --validate": validated,
    }
    return [
        Finding(what, ratio(results[OURS], results[YARDSTICK]), 0.4)
        for what, results in found.items()
    ]


if __name__ == "__main__":
    print_findings(main())
