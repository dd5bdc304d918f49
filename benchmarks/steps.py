# SPDX-License-Identifier: Apache-2.0
"""What a sandbox costs: 200 scattered `cat` steps, serial, warm, with `--udss` and without."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from measure import COMMANDS, in_turn, print_table, run, setting

STEPS = 200
WORKFLOW = Path(__file__).parent / "workflows" / "cat-many.cwl"
FLOOR = 'for i in $(seq "$0"); do "$@"; done'


def main() -> None:
    """Print the table."""
    with setting() as here:
        (here.scratch / "input.txt").write_text("content\n")
        job = here.scratch / "job.json"
        job.write_text(
            json.dumps(
                {
                    "numbers": list(range(STEPS)),
                    "file": {"class": "File", "location": "input.txt"},
                }
            )
        )

        def cwltool(option: str) -> list[str | Path]:
            options = [option, "--quiet", "--outdir", str(here.scratch / "out")]
            return [COMMANDS / "cwltool", *options, WORKFLOW, job]

        sandbox = [
            *("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
            *("--unshare-all", "--die-with-parent", "cat", "/etc/passwd"),
        ]
        commands: dict[str, list[str | Path]] = {
            "cwltool --no-container": cwltool("--no-container"),
            "cwltool --udss": cwltool("--udss"),
            "bwrap alone": ["sh", "-c", FLOOR, str(STEPS), *sandbox],
        }
        results = in_turn({name: partial(run, c, here.environment) for name, c in commands.items()})
    print_table(
        f"{STEPS} cat steps, serial, warm",
        results,
        "cwltool --no-container",
        "bar: cwltool --udss at most 1.25 × --no-container",
    )


if __name__ == "__main__":
    main()
