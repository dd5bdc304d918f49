# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss crate`: what a run does, or has done, as a Workflow Run RO-Crate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cwl_udss.batch.record import read_run
from cwl_udss.report.crate.output import check_crate, write_crate
from cwl_udss.report.journal import JOURNAL, read_calls


def write_crate_of(run: Path, directory: Path, profile: str) -> int:
    """Write what the directory of a run has. Raises UdssError."""
    check_crate(directory)
    write_crate(replace(read_run(run), calls=read_calls(run / JOURNAL)), directory, profile)
    print(f"wrote {directory}")
    return 0
