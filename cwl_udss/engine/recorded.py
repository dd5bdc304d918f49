# SPDX-License-Identifier: Apache-2.0
"""What is written of a run while it goes on, and when it has ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cwl_udss.engine.jobs.recording import Recorder
from cwl_udss.report.trace_table import TraceTable
from cwl_udss.settings.settings import Settings


@contextlib.contextmanager
def recorded(recorder: Recorder, settings: Settings) -> Iterator[None]:
    """Have written what the settings want. Raises SettingsError if a file cannot be."""
    with contextlib.ExitStack() as stack:
        if settings.trace_table is not None:
            table = TraceTable(settings.trace_table, is_raw=settings.trace_raw)
            stack.callback(table.close)
            recorder.sinks.append(table.add)
        stack.callback(recorder.close)
        yield
