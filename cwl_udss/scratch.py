# SPDX-License-Identifier: Apache-2.0
"""This user's directory on this node: fast, nobody else's, and thrown away by the site."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cwl_udss.errors import StoreError
from cwl_udss.filesystem import look_at, user_name
from cwl_udss.leases import LEASE_SECONDS
from cwl_udss.staging import remove_abandoned, work_directory

# What batch systems and sites set for a job's own directory, the most specific first.
_VARIABLES = ("TMPDIR", "PBS_JOBFS", "SLURM_TMPDIR")
_JOB_VARIABLES = ("PBS_JOBID", "SLURM_JOB_ID")
_ALWAYS = (Path("/tmp"), Path("/dev/shm"))  # noqa: S108 - what is made there is checked
_ADVICE = "name another with --udss-scratch"
_RUNS = "runs"
_WORK = "work"


def local_directories(setting: Path | None, environment: Mapping[str, str]) -> list[Path]:
    """Return the directories of this node's own, the best first; only the one that is set."""
    if setting is not None:
        return [setting]
    named = [Path(environment[name]) for name in _VARIABLES if environment.get(name)]
    return [
        path
        for path in dict.fromkeys((*named, *_ALWAYS))
        if path.is_dir() and os.access(path, os.W_OK) and not look_at(path).is_shared
    ]


def batch_job(environment: Mapping[str, str]) -> str:
    """Return the id of the batch job that this is in, "" if it is in none."""
    return next((environment[name] for name in _JOB_VARIABLES if environment.get(name)), "")


def node_directory(setting: Path | None, environment: Mapping[str, str]) -> Path:
    """Return this user's directory for what all runs on this node share, made if need be.

    Raises StoreError if there is none.
    """
    places = local_directories(setting, environment)
    if not places:
        raise StoreError("there is no directory of this node's own", "name one with --udss-scratch")
    return _user_directory(places[0])


def free_bytes(path: Path) -> int:
    """Return how much room is left where a directory is, or is going to be made."""
    return look_at(path).free_bytes


@contextlib.contextmanager
def run_directory(places: Sequence[Path], needed_bytes: int) -> Iterator[Path]:
    """Make a directory for one run's steps in the first of `places` with so much room, else in the
    one with the most. It is gone at the end, and its name tells host and process.

    Raises StoreError.
    """
    free = {place: free_bytes(place) for place in places}
    fitting = [place for place in places if free[place] >= needed_bytes]
    place = fitting[0] if fitting else max(places, key=lambda place: free[place])
    with work_directory(_user_directory(place) / _RUNS) as path:
        yield path


def clean(setting: Path | None, environment: Mapping[str, str]) -> list[Path]:
    """Remove what dead processes have left on this node. Returns what it was."""
    places = []
    for place in local_directories(setting, environment):
        own = place / _user_name()
        places += [own / _RUNS, own / _WORK, own / "store" / _WORK]
    return [removed for place in places for removed in remove_abandoned(place, LEASE_SECONDS)]


def _user_name() -> str:
    return f"cwl-udss-{os.getuid()}"


def _user_directory(place: Path) -> Path:
    """A directory that only this user can write to."""
    path = place / _user_name()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error.strerror}", _ADVICE) from error
    # Where everybody may write, somebody else may have been first.
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or mode & 0o022:
        whose = f"it is {user_name(status.st_uid)}'s, with mode {mode:04o}"
        raise StoreError(f"{path} is not only yours ({whose})", f"remove it, or {_ADVICE}")
    return path
