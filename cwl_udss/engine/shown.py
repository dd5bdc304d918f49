# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a run while it goes on: a table and what is wrong, or the log, as ever."""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwltool.loghandler import _logger as cwltool_logger
from cwltool.process import Process

from cwl_udss.engine.jobs.recording import Recorder
from cwl_udss.engine.replacements.expected import tell_of_scatters
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.images.progress import pulls_in_hand
from cwl_udss.machine.standard_error import diverted
from cwl_udss.machine.user_directories import home_directory
from cwl_udss.progress.lines import Lines
from cwl_udss.progress.log import opened_log, plain_formatter
from cwl_udss.progress.mode import Mode, choose_mode, is_terminal
from cwl_udss.progress.tally import Tally
from cwl_udss.report.record import SAID_BYTES, Status, StepRecord
from cwl_udss.report.run import Node
from cwl_udss.settings.settings import Settings

if TYPE_CHECKING:
    from cwl_udss.engine.batch_run import BatchRun
    from cwl_udss.progress.frame import Sources

_logger = logging.getLogger(__name__)

_STDERR = 2
_LOOK_SECONDS = 3.0
_STYLES = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}
Say = Callable[[str, str], None]
"""Writes a text in a style."""


class RunShown:
    """Shows a run, as settings and options have it."""

    def __init__(self, settings: Settings, options: argparse.Namespace, recorder: Recorder) -> None:
        self._title = os.path.basename(str(options.workflow))
        self._recorder = recorder
        self._mode = choose_mode(
            settings.progress,
            is_terminal=is_terminal(_STDERR, os.environ),
            wants_log=options.debug or options.quiet,
        )
        self._tally = Tally()
        self._log: Path | None = None
        if self._mode is Mode.LOG or options.validate:
            return
        recorder.watchers.append(self._tally.note)
        tell_of_scatters(self._expect)
        if self._hides_log:
            recorder.remembered_bytes = SAID_BYTES

    @property
    def _hides_log(self) -> bool:
        return self._mode in (Mode.TABLE, Mode.LINES)

    def _expect(self, tool: Process, number: int) -> None:
        place = self._recorder.places.get(id(tool))
        # What is in a workflow may be begun again and again.
        if place is not None and "/" not in place.path:
            self._tally.expect(place.path, number)

    def run(
        self,
        execute: Callable[[], tuple[Any, str]],
        nodes: Sequence[Node],
        batch: BatchRun | None,
    ) -> tuple[Any, str]:
        """Return what this returns, with cwltool's word for how it has ended, and show meanwhile
        what goes on; `nodes` are the steps, and `batch` is what runs them elsewhere."""
        has_succeeded = False
        try:
            with self._shown(nodes, batch):
                outputs, status = execute()
            has_succeeded = status == "success"
            return outputs, status
        finally:
            if self._log is not None and not has_succeeded:
                print(f"cwltool: the log is in {self._log}", file=sys.stderr)

    @contextlib.contextmanager
    def _shown(self, nodes: Sequence[Node], batch: BatchRun | None) -> Iterator[None]:
        if self._mode is Mode.LOG:
            yield
            return
        from cwl_udss.progress.frame import Sources  # noqa: PLC0415 - seldom needed

        self._tally.plan(nodes)
        beside = functools.partial(_beside, batch)
        sources = Sources(title=self._title, tally=self._tally, beside=beside)
        with contextlib.ExitStack() as stack:
            if batch is not None:
                stack.enter_context(self._looked_for_begun(batch))
            if self._hides_log:
                stack.enter_context(self._log_in_file(sources, batch))
            else:
                stack.enter_context(_lines(sources, lambda line: _logger.info("%s", line)).said())
            yield

    @contextlib.contextmanager
    def _log_in_file(self, sources: Sources, batch: BatchRun | None) -> Iterator[None]:
        from cwl_udss.batch.run_directory import new_run_name  # noqa: PLC0415 - seldom needed

        directory = None if batch is None else batch.own_directory
        with contextlib.ExitStack() as stack:
            try:
                log, descriptor = stack.enter_context(
                    opened_log(directory, new_run_name(), os.environ, home_directory())
                )
            except OSError as error:
                _logger.warning("there is no place for a log but here: %s", system_words(error))
                yield
                return

            def tell(error: OSError) -> None:
                say(f"WARNING the log {log} is not whole: {error.strerror}", "yellow")

            stream = stack.enter_context(diverted(descriptor, tell))
            self._log = log
            if self._mode is Mode.TABLE:
                from cwl_udss.progress.frame import frame  # noqa: PLC0415 - seldom needed
                from cwl_udss.progress.screen import Screen  # noqa: PLC0415 - slow to import

                screen = Screen(stream, functools.partial(frame, sources))
                say, showing = screen.say, screen.shown()
            else:

                def say(text: str, style: str = "") -> None:
                    with contextlib.suppress(OSError):  # nobody reads it
                        print(text, file=stream, flush=True)

                showing = _said_to_the_end(sources, say)
            say(f"the log is in {log}", "dim")
            stack.enter_context(_problems_told(say))
            stack.enter_context(self._failures_told(say))
            stack.enter_context(showing)
            yield

    @contextlib.contextmanager
    def _failures_told(self, say: Say) -> Iterator[None]:
        from cwl_udss.progress.frame import failure_lines  # noqa: PLC0415 - seldom needed

        def tell(record: StepRecord) -> None:
            for line in failure_lines(record):
                say(line, "dim")

        self._recorder.watchers.append(tell)
        try:
            yield
        finally:
            self._recorder.watchers.remove(tell)

    @contextlib.contextmanager
    def _looked_for_begun(self, batch: BatchRun) -> Iterator[None]:
        """On a thread that nobody waits for: the run's filesystem may have its server away."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(_LOOK_SECONDS):
                with contextlib.suppress(OSError):
                    self._tally.note_state(batch.steps().tried_again(), Status.SUBMITTED)
                    self._tally.note_state(batch.steps().begun(), Status.RUNNING)

        threading.Thread(target=look, name="begun", daemon=True).start()
        try:
            yield
        finally:
            ended.set()


def _beside(batch: BatchRun | None) -> list[str]:
    standing = "" if batch is None else batch.steps().describe()
    return [*pulls_in_hand(), *([standing] if standing else [])]


def _lines(sources: Sources, say: Callable[[str], None]) -> Lines:
    def summarized() -> str:
        from cwl_udss.progress.frame import summary  # noqa: PLC0415 - seldom needed

        return summary(sources)

    return Lines(say, summarized, lambda: sources.tally.picture(0).total.counts)


@contextlib.contextmanager
def _said_to_the_end(sources: Sources, say: Say) -> Iterator[None]:
    lines = _lines(sources, lambda line: say(line, ""))
    with lines.said():
        yield
    lines.say_change()


class _Problems(logging.Handler):
    """Shows warnings and errors to the person, who does not see the log."""

    def __init__(self, say: Say, level: int) -> None:
        super().__init__(level)
        self._say = say
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Show one (logging's hook)."""
        try:
            self._say(self.format(record), _STYLES.get(record.levelno, ""))
        except Exception:  # noqa: BLE001 - as every handler of logging does
            self.handleError(record)


@contextlib.contextmanager
def _problems_told(say: Say) -> Iterator[None]:
    """Have what is wrong said, too, that cwltool and we write to the log; without the colours in
    which a terminal would have it."""
    shown = [
        handler
        for handler in cwltool_logger.handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr
    ]
    formatters = [handler.formatter for handler in shown]
    for handler in shown:
        handler.setFormatter(plain_formatter())
    # --no-warnings
    least = min((handler.level for handler in shown), default=logging.WARNING)
    problems = _Problems(say, max(logging.WARNING, least))
    cwltool_logger.addHandler(problems)
    try:
        yield
    finally:
        cwltool_logger.removeHandler(problems)
        for handler, formatter in zip(shown, formatters, strict=True):
            handler.setFormatter(formatter)
