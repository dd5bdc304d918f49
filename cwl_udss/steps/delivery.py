# SPDX-License-Identifier: Apache-2.0
"""What a step has left: to the filesystem that all nodes share, and as a list."""

from __future__ import annotations

import os
from pathlib import Path

from cwl_udss.files import copies
from cwl_udss.sandbox import Bind
from cwl_udss.staging import publish_directory, work_directory
from cwl_udss.steps.spec import OUTPUTS, StepSpec
from cwl_udss.surroundings.outputs import View, confine


def put_outputs(spec: StepSpec, made: Path, place: Path) -> list[str]:
    """Move an output directory to the filesystem that all nodes share; there at once and whole.
    Returns what was removed from it before (see outputs.confine)."""
    own = Bind(source=str(made), destination=spec.output_directory)
    removed = confine(str(made), spec.output_directory, View((own, *spec.binds)))
    with work_directory(place.parent / "work") as work:
        copies.move(str(made), str(work / OUTPUTS))
        publish_directory(work / OUTPUTS, place)
    return removed


def list_outputs(directory: Path) -> dict[str, int | None]:
    """Return all that is below a directory, by relative path; the size of what is a file."""
    found: dict[str, int | None] = {}
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            path = os.path.join(parent, name)
            is_file = name in files and not os.path.islink(path)
            size = os.lstat(path).st_size if is_file else None
            found[os.path.relpath(path, directory)] = size
    return found
