# SPDX-License-Identifier: Apache-2.0
"""Workflows for tests that are about something else."""

from __future__ import annotations

import json
from pathlib import Path


def write_chain(path: Path, length: int) -> None:
    """Write a chain of steps, each of which adds an x to what it is given."""
    tool = {
        "class": "CommandLineTool",
        "hints": {"DockerRequirement": {"dockerPull": "busybox:1.36"}},
        "inputs": {"before": {"type": "File?", "inputBinding": {}}},
        "baseCommand": ["sh", "-c", 'cat "$@"; printf x', "sh"],
        "stdout": "out",
        "outputs": {"out": "stdout"},
    }
    steps = {
        f"step{number}": {
            "in": {"before": f"step{number - 1}/out"} if number else {},
            "out": ["out"],
            "run": tool,
        }
        for number in range(length)
    }
    workflow = {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "inputs": {},
        "outputs": {"last": {"type": "File", "outputSource": f"step{length - 1}/out"}},
        "steps": steps,
    }
    path.write_text(json.dumps(workflow))
