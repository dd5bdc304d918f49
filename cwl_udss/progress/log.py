# SPDX-License-Identifier: Apache-2.0
"""Where the log of a run goes of which a person sees a table."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from cwl_udss.machine.user_directories import user_state

LOG = "cwltool.log"
_MOST_LOGS = 20
_LEAST_SECONDS = 7 * 86_400
"""A log that is younger stays, however many there are."""


def log_path(run_directory: Path | None, name: str, state: Path) -> Path:
    """Return where the log of a run goes: to what else belongs to it, if it has such a place."""
    return run_directory / LOG if run_directory is not None else state / "logs" / f"{name}.log"


@contextlib.contextmanager
def opened_log(
    run_directory: Path | None, name: str, environment: Mapping[str, str], home: Path
) -> Iterator[tuple[Path, int]]:
    """Open a run's log to be added to; give its path, and what writes to it. `name` is the run's,
    if it has no directory. Raises OSError if there is no place for it."""
    path = log_path(run_directory, name, user_state(environment, home))
    try:
        descriptor = _open(path)
        if run_directory is None:
            _forget_old(path.parent, time.time())
    except OSError:  # the home directory of some nodes can only be read
        path = Path(tempfile.gettempdir()) / f"cwl-udss-{os.getuid()}-{path.name}"
        descriptor = _open(path)
    try:
        yield path, descriptor
    finally:
        os.close(descriptor)


def plain_formatter() -> logging.Formatter:
    """Return what writes a line of a log: cwltool's own are coloured, and without times."""
    return logging.Formatter("[%(asctime)s] %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)  # command lines may be private


def _forget_old(directory: Path, now: float) -> None:
    with contextlib.suppress(OSError):
        logs = sorted(directory.glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in logs[_MOST_LOGS:]:
            if now - path.stat().st_mtime > _LEAST_SECONDS:
                path.unlink()
