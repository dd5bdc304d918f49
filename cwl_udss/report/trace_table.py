# SPDX-License-Identifier: Apache-2.0
"""A table of the steps that have ended, in Nextflow's form (`--udss-trace-table FILE`)."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from cwl_udss.errors import SettingsError
from cwl_udss.report.nextflow import HEAD, trace_line
from cwl_udss.report.record import StepRecord

_logger = logging.getLogger(__name__)

_BEGINNING = b"task_id\t"


class TraceTable:
    """An open file, for any number of threads. A full disk ends it, and not the run."""

    def __init__(self, path: Path, *, is_raw: bool) -> None:
        """Raises SettingsError if the file cannot be written."""
        self._path = path
        self._is_raw = is_raw
        self._descriptor: int | None = _open(path)
        self._write(HEAD)

    def add(self, record: StepRecord) -> None:
        """Add a step that has ended."""
        self._write(trace_line(record, is_raw=self._is_raw))

    def close(self) -> None:
        """Add no more."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _write(self, line: str) -> None:
        """Write a line at once: who reads while the run goes on finds whole lines, and a driver
        that is killed has lost none but the one in hand."""
        if self._descriptor is None:
            return
        data = f"{line}\n".encode(errors="backslashreplace")
        try:
            written = os.write(self._descriptor, data)
            if written < len(data):  # write(2): the rest of the disk; the next says why
                os.write(self._descriptor, data[written:])
        except OSError as error:
            self.close()
            _logger.warning("the trace table %s is not whole: %s", self._path, error.strerror)


def _open(path: Path) -> int:
    try:
        if path.is_file():
            # Who has forgotten FILE has named the workflow.
            with path.open("rb") as existing:
                if existing.read(len(_BEGINNING)) not in (b"", _BEGINNING):
                    raise SettingsError(
                        f"{path} is no trace table, and is not overwritten", "name another file"
                    )
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        return os.open(path, flags, 0o666)
    except OSError as error:
        raise SettingsError(
            f"the trace table {path} cannot be written: {error.strerror}", "name another file"
        ) from error
