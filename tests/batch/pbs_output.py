# SPDX-License-Identifier: Apache-2.0
"""Where a job's output goes: while the job runs, and afterwards."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

from pbs_jobs import Job


def output_files(job: Job, directory: Path) -> tuple[Path, Path]:
    """Where a job's output goes while it runs."""
    given = job.submission
    places = []
    for letter, suffix, final in (("o", "OU", job.output), ("e", "ER", job.error)):
        keep = given.keep.removeprefix("d")
        if letter not in keep:
            places.append(directory / "spool" / f"{job.identity}.{suffix}")
        elif given.keep.startswith("d"):
            places.append(_destination(job, final, suffix))
        else:
            name = f"{given.name}.{letter}{job.number}"
            name += "" if job.index is None else f".{job.index}"
            places.append(Path(job.home) / name)
    output, error = places
    if given.join == "oe":
        error = output
    elif given.join == "eo":
        output = error
    return output, error


def deliver(job: Job, directory: Path) -> int | None:
    """Copy output to where it belongs: 1, it is there; 0, it could not be; None, there is none."""
    given = job.submission
    status = 1 if given.keep.startswith("d") else None
    finals = ("o", "OU", job.output), ("e", "ER", job.error)
    for (letter, suffix, final), file in zip(finals, output_files(job, directory), strict=True):
        if file.parent != directory / "spool" or not file.exists():
            continue
        if letter not in (given.remove or ""):
            try:
                # Not shutil.copyfile, which refuses devices.
                copy = functools.partial(os.open, mode=file.stat().st_mode & 0o777)
                with (
                    file.open("rb") as source,
                    open(_destination(job, final, suffix), "wb", opener=copy) as target,
                ):
                    shutil.copyfileobj(source, target)
                status = 1 if status is None else status
            except OSError:
                shutil.copy(file, directory / "undelivered")
                status = 0
        file.unlink()
    return status


def _destination(job: Job, final: str, suffix: str) -> Path:
    if final.endswith("/") or Path(final).is_dir():
        return Path(final) / f"{job.identity}.{suffix}"
    return Path(final)
