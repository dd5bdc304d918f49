# SPDX-License-Identifier: Apache-2.0
"""Steps of workflows that tell what they were given, and what they have made.

Of a job cwltool has a hook (see recording.py), of an expression or a workflow in a workflow none:
all are begun by WorkflowStep.job, for a scattered step once for each of its jobs.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import cwltool.executors
import cwltool.workflow
from cwltool.context import RuntimeContext
from cwltool.process import shortname
from cwltool.utils import JobsGeneratorType, OutputCallbackType
from cwltool.workflow import WorkflowStep

from cwl_udss.errors import masked
from cwl_udss.report.calls import Call
from cwl_udss.report.record import Status

_MOST_VALUES = 500_000
"""Of all calls together; each of a thousand that are given a thousand files has them anew."""
_KEPT = ("class", "basename", "location", "size", "checksum", "secondaryFiles", "format")
_CALL = "udss_call"


class Calls:
    """Follows the steps of a run, for any number of threads."""

    def __init__(self) -> None:
        self.sinks: list[Callable[[Call], None]] = []
        """To be told of each that has ended, one at a time."""
        self.secrets: Collection[str] = ()
        """To be in none."""
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._pending: dict[int, Call] = {}
        self._left = _MOST_VALUES

    def begin(self, path: str, parent: int | None, inputs: Mapping[str, Any]) -> int:
        """Note that one begins; return its number."""
        with self._lock:
            number = next(self._numbers)
            self._pending[number] = Call(
                number=number,
                parent=parent,
                path=path,
                status=Status.ABORTED,
                started=time.time(),
                ended=None,
                problem="",
                inputs=self._plain(inputs),
                outputs=None,
            )
        return number

    def end(self, number: int, outputs: Mapping[str, Any], status: Status, problem: str) -> None:
        """Note that it has ended, if it has not before."""
        with self._lock:
            call = self._pending.pop(number, None)
            if call is not None:
                call = replace(
                    call,
                    status=status,
                    ended=time.time(),
                    problem=masked(problem, self.secrets),
                    outputs=self._plain(outputs),
                )
                self._tell(call)

    def close(self) -> None:
        """Tell of those that have not ended, and never will."""
        with self._lock:
            for number in sorted(self._pending):
                self._tell(self._pending.pop(number))

    def _tell(self, call: Call) -> None:
        for sink in self.sinks:
            sink(call)

    def _plain(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        if self._left <= 0:
            return None
        return {str(name): self._plain_value(value) for name, value in values.items()}

    def _plain_value(self, value: Any) -> Any:
        self._left -= 1
        if isinstance(value, Mapping):
            kept = set(value)
            if value.get("class") in ("File", "Directory"):
                # What lies nowhere is known by what it has only.
                lies = not str(value.get("location", "_:")).startswith("_:")
                kept &= {*_KEPT, *(() if lies else ("contents", "listing"))}
            return {str(n): self._plain_value(part) for n, part in value.items() if n in kept}
        if isinstance(value, list | tuple):
            return [self._plain_value(part) for part in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return masked(str(value), self.secrets)


def follow_calls(calls: Calls) -> None:
    """Have all workflows that are read from now on tell of their steps."""

    class ToldStep(WorkflowStep):
        """Tells of each of its uses."""

        def job(
            self,
            job_order: Any,
            output_callbacks: OutputCallbackType,
            runtimeContext: RuntimeContext,
        ) -> JobsGeneratorType:
            """Yield what is to be run (cwltool's hook)."""
            parent, around = getattr(runtimeContext, _CALL, (None, ""))
            path = f"{around}{shortname(self.id)}"
            given = {shortname(name): value for name, value in job_order.items()}
            number = calls.begin(path, parent, given)

            def ended(outputs: Any, status: str) -> None:
                made = {shortname(name): value for name, value in (outputs or {}).items()}
                is_success = status in ("success", "skipped")
                calls.end(number, made, Status.COMPLETED if is_success else Status.FAILED, "")
                output_callbacks(outputs, status)

            context = runtimeContext.copy()
            setattr(context, _CALL, (number, f"{path}/"))
            try:
                yield from super().job(job_order, ended, context)
            except Exception as error:
                calls.end(number, {}, Status.FAILED, str(error))
                raise

    # Workflow.make_workflow_step looks it up there.
    vars(cwltool.workflow)[WorkflowStep.__name__] = ToldStep


def call_of(context: RuntimeContext) -> int | None:
    """Return the call of which a job with such a context is."""
    number: int | None = getattr(context, _CALL, (None, ""))[0]
    return number


def note_moved(moved: dict[str, str]) -> None:
    """Have noted where the outputs go: their location, by the one that the steps gave them."""
    name = "relocateOutputs"
    vars(cwltool.executors)[name] = functools.partial(
        _relocate, vars(cwltool.executors)[name], moved
    )


def _relocate(
    relocate: Callable[..., Any], moved: dict[str, str], outputs: Any, *more: Any, **named: Any
) -> Any:
    placed = relocate(outputs, *more, **named)
    _compare(outputs, placed, moved)
    return placed


def _compare(before: Any, after: Any, moved: dict[str, str]) -> None:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        old, new = before.get("location"), after.get("location")
        if "class" in before and isinstance(old, str) and isinstance(new, str) and old != new:
            moved.setdefault(old, new)
        for name in before.keys() & after.keys():
            _compare(before[name], after[name], moved)
    elif isinstance(before, list) and isinstance(after, list):
        for one, other in zip(before, after, strict=False):
            _compare(one, other, moved)
