# SPDX-License-Identifier: Apache-2.0
"""What a run has done until now, in its directory: a line of JSON for its begin, each step that has
ended, and its end. A driver that goes on with the run adds to it."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict
from pathlib import Path

from cwl_udss.errors import UdssError
from cwl_udss.report.record import StepRecord, read_record
from cwl_udss.report.run import Begin, End, read_begin, read_end

_logger = logging.getLogger(__name__)

JOURNAL = "steps.jsonl"


class UnreadableRun(UdssError):
    """A run's directory does not say what the run has done."""


class Journal:
    """An open file, to which one thread at a time may add. A full disk ends it, and not the run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)  # command lines may be private
            size = os.fstat(self._descriptor).st_size
            if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
                self._write("")  # the driver before was killed in a line
        except OSError as error:
            self._give_up(error)

    def begin(self, begin: Begin) -> None:
        """Add what is known at the beginning."""
        self._write(json.dumps({"begin": asdict(begin)}))

    def add(self, record: StepRecord) -> None:
        """Add a step that has ended."""
        self._write(f'{{"step": {record.line()}}}')

    def end(self, end: End) -> None:
        """Add what has come of it."""
        self._write(json.dumps({"end": asdict(end)}))

    def close(self) -> None:
        """Add no more."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _write(self, line: str) -> None:
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, f"{line}\n".encode("ascii"))
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.close()
        _logger.warning("%s is not whole, nor will a report be: %s", self._path, error.strerror)


def read_journal(path: Path) -> tuple[Begin, list[StepRecord], End | None]:
    """Return what was written; of a step that later drivers have told of, too, their word. What is
    no line of ours, as of a driver that was killed, is left out. Raises UnreadableRun."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UnreadableRun(
            f"{path} cannot be read: {error.strerror}",
            "name the directory of a run whose steps were jobs",
        ) from error
    begin: Begin | None = None
    end: End | None = None
    steps: dict[str, StepRecord] = {}
    for line in lines:
        try:
            [(kind, facts)] = json.loads(line).items()
            if kind == "begin":
                begin, end = read_begin(facts), None
            elif kind == "step":
                record = read_record(facts)
                steps[record.job] = record
            elif kind == "end":
                end = read_end(facts)
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
    if begin is None:
        raise UnreadableRun(
            f"{path} does not say how the run began", "it is damaged, or of another version"
        )
    return begin, list(steps.values()), end
