# SPDX-License-Identifier: Apache-2.0
"""Jobs that end at once, for the stand-in of PBS: each leaves what a step's job leaves."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

RESULT = {
    "ending": "exited",
    "exit_code": 0,
    "node": "none",
    "started": 0.0,
    "ended": 0.0,
    "usage": None,
    "outputs": {"output.txt": 1},
    "removed": [],
    "problem": "",
}


def run(script: str, variables: Mapping[str, str]) -> int:
    """Take the place of a job's processes."""
    arguments = re.search(r" step --job (.*)", script)
    assert arguments is not None
    for name in shlex.split(arguments[1]):
        step = Path(name)
        (step / "outputs").mkdir()
        (step / "outputs/output.txt").write_text("x")
        (step / "made").write_text(json.dumps(RESULT))
        (step / "made").rename(step / "result.json")
        (step.parent.parent / "ended" / step.name).touch()
    return 0
