# SPDX-License-Identifier: Apache-2.0
"""What a sandbox costs: scattered `cat` steps, serial, warm, with `--udss` and without."""

from __future__ import annotations

from pathlib import Path

from measure import (
    COMMANDS,
    Finding,
    Setting,
    bubblewrap,
    input_object,
    print_findings,
    print_table,
    ratio,
    run_in_turn,
    setting,
)
from peers import Commands, cwltool_peers

STEPS = 200
FEW = 20  # for those that take a second for each
WORKFLOW = Path(__file__).parent / "workflows" / "cat-many.cwl"
FLOOR = 'for i in $(seq "$0"); do "$@"; done'
YARDSTICK = "cwltool --no-container"
OURS = "cwltool --udss"


def main() -> list[Finding]:
    """Print the tables."""
    with setting() as here, cwltool_peers(here) as peers:
        sandbox = [
            *(bubblewrap(), "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
            *("--unshare-all", "--die-with-parent", "cat", "/etc/passwd"),
        ]
        contestants: Commands = {
            **cwltool(here, STEPS),
            "bwrap alone": ["sh", "-c", FLOOR, str(STEPS), *sandbox],
        }
        few = cwltool(here, FEW)
        inputs = input_object(here, FEW)
        few |= {name: [*command, WORKFLOW, inputs] for name, command in peers.items()}
        results = run_in_turn(contestants, here.environment)
        few_results = run_in_turn(few, here.environment, peers=peers)
    print_table(f"{STEPS} cat steps, serial, warm", results, YARDSTICK)
    print_table(f"{FEW} cat steps, serial, warm", few_results, YARDSTICK)
    found = ratio(results[OURS], results[YARDSTICK])
    return [Finding(f"{STEPS} steps: × cwltool --no-container", found, 1.25)]


def cwltool(here: Setting, steps: int) -> Commands:
    """Return what runs so many steps, with sandboxes and without."""
    options: list[str | Path] = ["--quiet", "--outdir", here.scratch / "out"]
    options += [WORKFLOW, input_object(here, steps)]
    return {
        YARDSTICK: [COMMANDS / "cwltool", "--no-container", *options],
        OURS: [COMMANDS / "cwltool", "--udss", *options],
    }


if __name__ == "__main__":
    print_findings(main())
