# SPDX-License-Identifier: Apache-2.0
"""What a start costs: a workflow of one `cat` step, warm, run and only validated."""

from __future__ import annotations

import sys
from pathlib import Path

from measure import COMMANDS, Finding, print_findings, print_table, ratio, run_in_turn, setting
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
        commands = {**contestants, **peers}
        ran = run_in_turn(
            {name: [*command, *inputs] for name, command in commands.items()},
            environment,
            peers=peers,
        )
        validated = run_in_turn(
            {name: [*command, "--validate", *inputs] for name, command in contestants.items()},
            environment,
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
