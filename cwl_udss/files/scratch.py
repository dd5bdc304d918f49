# SPDX-License-Identifier: Apache-2.0
"""This user's directory on this node: fast, nobody else's, and thrown away by the site."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cwl_udss.errors import StoreError
from cwl_udss.filesystems.filesystem import look_at, user_name
from cwl_udss.filesystems.leases import LEASE_SECONDS, presence_name
from cwl_udss.staging import remove_abandoned, work_directory

# What batch systems and sites set for a job's own directory, the most specific first.
_VARIABLES = ("TMPDIR", "PBS_JOBFS", "SLURM_TMPDIR")
_JOB_VARIABLES = ("PBS_JOBID", "SLURM_JOB_ID")
_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made there is checked
_ALWAYS = (Path("/tmp"), _MEMORY)  # noqa: S108
_ADVICE = "name another with --udss-scratch"
_RUNS = "runs"
_WORK = "work"
_LEFT = "left"


def local_directories(setting: Path | None, environment: Mapping[str, str]) -> list[Path]:
    """Return the directories of this node's own, the best first; only the one that is set.

    Raises StoreError if that cannot be used.
    """
    return list(_local_directories(setting, environment))


def batch_job(environment: Mapping[str, str]) -> str:
    """Return the id of the batch job that this is in, "" if it is in none."""
    return next((environment[name] for name in _JOB_VARIABLES if environment.get(name)), "")


def node_directory(setting: Path | None, environment: Mapping[str, str]) -> Path:
    """Return this user's directory for what all runs on this node share, made if need be.

    Raises StoreError if there is none.
    """
    return _user_directory(_best(setting, environment))


def free_bytes(path: Path) -> int:
    """Return how much room is left where a directory is, or is going to be made."""
    return look_at(path).free_bytes


@contextlib.contextmanager
def run_directory(places: Sequence[Path], needed_bytes: int) -> Iterator[Path]:
    """Make a directory for one run's steps in the first of `places` with so much room, else in the
    one with the most. It is gone at the end, and its name tells host and process: what a process
    that was killed has left, the next and clean() remove.

    Raises StoreError.
    """
    place = _roomiest(places, needed_bytes)
    with contextlib.ExitStack() as stack:
        with _usable(place):
            path = stack.enter_context(work_directory(_user_directory(place) / _RUNS))
        yield path


def lasting_directory(places: Sequence[Path], needed_bytes: int) -> Path:
    """Make a directory as run_directory() does, but one that stays, for a person to look into.

    Raises StoreError.
    """
    place = _roomiest(places, needed_bytes)
    with _usable(place):
        path = _user_directory(place) / _LEFT / presence_name()
        path.mkdir(mode=0o700, parents=True)
    return path


@contextlib.contextmanager
def temporary_directory(setting: Path | None, environment: Mapping[str, str]) -> Iterator[Path]:
    """Make an empty directory on this node for as long as this process needs it; else as
    run_directory(). Raises StoreError."""
    with run_directory([_best(setting, environment)], 0) as path:
        yield path


@contextlib.contextmanager
def program_directory(setting: Path | None, environment: Mapping[str, str]) -> Iterator[Path]:
    """As temporary_directory(), where programs can be executed; in memory if that is possible, as
    it is for small files that come and go. Raises StoreError."""
    places = local_directories(setting, environment)
    places.sort(key=lambda place: setting is None and place != _MEMORY)
    fitting = [place for place in places if not look_at(place).forbids_programs]
    if places and not fitting:
        raise StoreError(
            f"programs cannot be executed in {' or '.join(map(str, places))} (mounted noexec)",
            _ADVICE,
        )
    with run_directory(fitting, 0) as path:
        yield path


def clean(setting: Path | None, environment: Mapping[str, str]) -> list[Path]:
    """Remove what dead processes have left on this node. Returns what it was."""
    places = []
    for own in map(_own_directory, local_directories(setting, environment)):
        if own.is_dir() and _is_safe(own.lstat()):
            places += [own / _RUNS, own / _WORK, own / "store" / _WORK]
    return [removed for place in places for removed in remove_abandoned(place, LEASE_SECONDS)]


def _local_directories(setting: Path | None, environment: Mapping[str, str]) -> Iterator[Path]:
    """As they are asked for: to look at one takes the longer the more mounts there are."""
    if setting is not None:
        _check(setting)
        yield setting
        return
    named = [Path(environment[name]) for name in _VARIABLES if environment.get(name)]
    for path in dict.fromkeys((*named, *_ALWAYS)):
        if path.is_dir() and os.access(path, os.W_OK) and not look_at(path).is_shared:
            yield path


def _best(setting: Path | None, environment: Mapping[str, str]) -> Path:
    """Raises StoreError if there is none."""
    return _known([*itertools.islice(_local_directories(setting, environment), 1)])[0]


def _known(places: Sequence[Path]) -> Sequence[Path]:
    if not places:
        raise StoreError("there is no directory of this node's own", "name one with --udss-scratch")
    return places


def _check(path: Path) -> None:
    """Raise StoreError if a directory that was named cannot be used."""
    try:
        found = look_at(path) if stat.S_ISDIR(path.stat().st_mode) else None
    except OSError as error:
        raise _unusable(path, str(error.strerror)) from error
    if found is None:
        raise _unusable(path, "it is no directory")
    if not os.access(path, os.W_OK | os.X_OK):
        raise _unusable(path, "you may not write there")
    if found.forbids_programs:
        raise _unusable(path, "it is mounted noexec, so that no program there can be executed")


def _unusable(path: Path, reason: str) -> StoreError:
    return StoreError(f"the scratch directory {path} cannot be used: {reason}", _ADVICE)


@contextlib.contextmanager
def _usable(place: Path) -> Iterator[None]:
    """Blame the directory for what cannot be made in it: it is full, say."""
    try:
        yield
    except OSError as error:
        raise _unusable(place, str(error.strerror)) from error


def _roomiest(places: Sequence[Path], needed_bytes: int) -> Path:
    """The first place with so much room, else the one with the most."""
    if not needed_bytes:
        return _known(places)[0]
    free = {place: free_bytes(place) for place in _known(places)}
    fitting = (place for place in places if free[place] >= needed_bytes)
    return next(fitting, max(places, key=lambda place: free[place]))


def _own_directory(place: Path) -> Path:
    return place / f"cwl-udss-{os.getuid()}"


def _user_directory(place: Path) -> Path:
    """A directory that only this user can write to."""
    path = _own_directory(place)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise _unusable(place, str(error.strerror)) from error
    # Where everybody may write, somebody else may have been first.
    if not _is_safe(status):
        mode = stat.S_IMODE(status.st_mode)
        whose = f"it is {user_name(status.st_uid)}'s, with mode {mode:04o}"
        raise StoreError(f"{path} is not only yours ({whose})", f"remove it, or {_ADVICE}")
    return path


def _is_safe(status: os.stat_result) -> bool:
    mode = stat.S_IMODE(status.st_mode)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not mode & 0o022
