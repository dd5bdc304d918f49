# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss crate`: what a run does, or has done, as a Workflow Run RO-Crate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cwl_udss.batch.record import read_run
from cwl_udss.batch.run_directory import living_drivers
from cwl_udss.report.crate.output import check_crate, write_crate
from cwl_udss.report.journal import JOURNAL, read_calls
from cwl_udss.report.run import End, Run


def write_crate_of(run: Path, directory: Path, profile: str) -> int:
    """Write what the directory of a run has. Raises UdssError."""
    check_crate(directory)
    found = replace(read_run(run), calls=read_calls(run / JOURNAL))
    if found.end is None and not living_drivers(run):
        found = replace(found, end=_end_of_killed(found))
    write_crate(found, directory, profile)
    print(f"wrote {directory}")
    return 0


def _end_of_killed(run: Run) -> End:
    """What is known of an end of which nobody has told."""
    times = (step.ran.times.ended for step in run.steps)
    return End(
        ended=max((time for time in times if time is not None), default=run.begin.started),
        exit_code=1,
        outputs={},
        messages=("its driver was killed",),
        inputs=run.begin.inputs,
    )
