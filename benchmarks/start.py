# SPDX-License-Identifier: Apache-2.0
"""What a start costs: a workflow of one `cat` step, warm, run and only validated."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from measure import COMMANDS, in_turn, print_table, run, setting

WORKFLOW = Path(__file__).parent / "workflows" / "cat-one.cwl"
YARDSTICK = "cwltool --no-container"


def main() -> None:
    """Print a table for each."""
    with setting() as here:
        environment = {**here.environment, "XDG_CACHE_HOME": f"{here.scratch}/caches"}
        (here.scratch / "input.txt").write_text("content\n")
        inputs = ["--quiet", "--outdir", here.scratch / "out"]
        inputs += [WORKFLOW, "--file", here.scratch / "input.txt"]
        # cwltool's own command, not the one that takes its place.
        contestants: dict[str, list[str | Path]] = {
            YARDSTICK: [sys.executable, "-m", "cwltool", "--no-container"],
            "cwltool --udss": [COMMANDS / "cwltool", "--udss"],
        }
        results = {
            what: in_turn(
                {
                    name: partial(run, [*command, *options, *inputs], environment)
                    for name, command in contestants.items()
                }
            )
            for what, options in (("run", []), ("validated", ["--validate"]))
        }
    for what, runs in results.items():
        print_table(f"a workflow of one step, {what}, warm", runs, YARDSTICK, "bar: at most 0.4 ×")


if __name__ == "__main__":
    main()
