# SPDX-License-Identifier: Apache-2.0
"""What is written of a run: while it goes on, and when it has ended, however that is."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cwltool.loghandler import _logger as cwltool_logger
from cwltool.process import Process, shortname
from cwltool.secrets import SecretStore
from cwltool.utils import aslist

from cwl_udss.engine.described import machine_facts, plain_object, with_checksums
from cwl_udss.engine.jobs.recording import Recorder
from cwl_udss.engine.outline import outline
from cwl_udss.errors import UdssError, masked
from cwl_udss.report.journal import JOURNAL, Journal
from cwl_udss.report.output import check_page, write_page
from cwl_udss.report.record import SAID_BYTES, StepRecord
from cwl_udss.report.run import Begin, End, Run
from cwl_udss.report.trace_table import TraceTable
from cwl_udss.settings.settings import Settings

_logger = logging.getLogger(__name__)

_MOST_MESSAGES = 200


class RunRecord:
    """Knows of a run what is to be written of it. Nothing that goes wrong here ends the run."""

    def __init__(
        self, recorder: Recorder, settings: Settings, command: Sequence[str], workflow: str
    ) -> None:
        """`command` is what was typed, with the name of a workflow in it. Raises SettingsError if a
        file cannot be written, or is none of ours."""
        self._recorder = recorder
        self._settings = settings
        self._command = tuple(command)
        # What comes after the workflow's name may be secret, as long as nobody has read that.
        known = command.index(workflow) + 1 if workflow in command else len(command)
        self._begin = Begin(
            workflow=workflow,
            label="",
            command=self._command[:known],
            directory=os.getcwd(),
            run_directory="",
            started=time.time(),
            host=socket.gethostname(),
            facts={},
            nodes=(),
            inputs={},
            captions={},
        )
        self._has_begun = False
        self._journal: Journal | None = None
        self._table: TraceTable | None = None
        self._steps: list[StepRecord] = []
        self._messages = _Messages()
        self.outputs: Mapping[str, Any] = {}
        """As CWL has them; to be set by who knows, as the exit code is."""
        self.exit_code = 1
        if settings.report is not None:
            check_page(settings.report)
            recorder.sinks.append(self._steps.append)
            recorder.remembered_bytes = SAID_BYTES
        if settings.trace_table is not None:
            self._table = TraceTable(settings.trace_table, is_raw=settings.trace_raw)
            recorder.sinks.append(self._table.add)

    def begin(
        self,
        process: Process,
        inputs: Any,
        run_directory: Path | None,
        secrets: SecretStore | None,
    ) -> None:
        """Note what is going to be run; `run_directory` has what belongs to it, if it has one."""
        self._has_begun = True
        if secrets is not None:
            self._recorder.secrets = secrets.secrets.values()
        if run_directory is not None:
            self._journal = Journal(run_directory / JOURNAL)
            self._recorder.sinks.append(self._journal.add)
        if not self._recorder.sinks:
            return
        with _not_fatal("what the workflow is cannot be noted"):
            nodes, self._recorder.places = outline(process)
            self._begin = replace(
                self._begin,
                workflow=str(process.tool["id"]).removeprefix("file://").partition("#")[0],
                label=_about(process.tool),
                command=tuple(masked(word, self._recorder.secrets) for word in self._command),
                run_directory=str(run_directory or ""),
                facts=machine_facts(self._settings),
                nodes=tuple(nodes),
                inputs=plain_object(inputs),
                captions={
                    shortname(str(output["id"])): _about(output)
                    for output in process.tool["outputs"]
                },
            )
        if self._journal is not None:
            self._journal.begin(self._begin)

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """Write all that there is to be written, whatever ends the block."""
        cwltool_logger.addHandler(self._messages)
        try:
            yield
        except UdssError as error:
            self._messages.lines.append(f"ERROR {error}")
            raise
        finally:
            cwltool_logger.removeHandler(self._messages)
            self._recorder.close()
            if self._table is not None:
                self._table.close()
            if self._has_begun or self.exit_code:  # else nothing was to be run
                with _not_fatal("the report cannot be written"):
                    self._write_end()

    def _write_end(self) -> None:
        report = self._settings.report
        end = End(
            ended=time.time(),
            exit_code=self.exit_code,
            outputs=plain_object(self.outputs),
            messages=tuple(masked(line, self._recorder.secrets) for line in self._messages.lines),
            inputs=self._begin.inputs if report is None else with_checksums(self._begin.inputs),
        )
        if self._journal is not None:
            self._journal.end(end)
            self._journal.close()
        if report is not None:
            write_page(Run(begin=self._begin, steps=self._steps, end=end, now=end.ended), report)


@contextlib.contextmanager
def _not_fatal(what: str) -> Iterator[None]:
    """Have what is raised end the block only: the run is not the worse for it."""
    try:
        yield
    except UdssError as error:
        _logger.warning("%s", error)
    except Exception as error:
        _logger.warning("%s: %r", what, error, exc_info=_logger.isEnabledFor(logging.DEBUG))


class _Messages(logging.Handler):
    """Keeps the last warnings and errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: deque[str] = deque(maxlen=_MOST_MESSAGES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.lines.append(f"{record.levelname} {record.getMessage()}")


def _about(described: Mapping[str, Any]) -> str:
    """What an author says of something."""
    words = [str(part) for name in ("label", "doc") for part in aslist(described.get(name) or [])]
    return " ".join(words)
