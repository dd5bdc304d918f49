# SPDX-License-Identifier: Apache-2.0
"""Inputs that no step can use, told by their names before cwltool trips over them.

cwltool (3.1 to 3.3) takes on trust what a workflow's types leave open: a Directory to scatter over
is a KeyError there, null a TypeError, and a string is scattered by its letters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, MutableSequence
from typing import Any

import cwltool.main
import cwltool.workflow_job
from cwltool.errors import WorkflowException
from cwltool.process import shortname
from cwltool.utils import aslist, visit_class
from cwltool.workflow_job import WorkflowJobStep
from schema_salad.exceptions import ValidationException


class StepInputs:
    """Stands in for the function of cwltool that puts a step's inputs together, and checks them."""

    def __init__(self, original: Callable[..., Any]) -> None:
        self._original = original
        self.step: WorkflowJobStep | None = None
        """Whose inputs are put together next."""

    def __call__(self, state: Any, params: Any, *arguments: Any, **keywords: Any) -> Any:
        """Return the inputs by name, None if not all are there."""
        inputs = self._original(state, params, *arguments, **keywords)
        step = self.step
        if inputs is not None and step is not None and params is step.tool["inputs"]:
            check_step_inputs(step.name, step.tool, inputs)
        return inputs


def check_inputs() -> StepInputs:
    """Have cwltool check inputs; return what is to be told of the step."""
    if not isinstance(cwltool.main.init_job_order, functools.partial):
        checked = functools.partial(_check_and_start, cwltool.main.init_job_order)
        cwltool.main.init_job_order = checked
    checking = StepInputs(cwltool.workflow_job.object_from_state)
    cwltool.workflow_job.object_from_state = checking
    return checking


def check_job_order(job_order: Mapping[str, Any]) -> None:
    """Raise ValidationException for a File or Directory that says where it is by no text."""

    def check(name: str, entry: Mapping[str, Any]) -> None:
        for field in ("path", "location"):
            if field in entry and not isinstance(entry[field], str):
                raise ValidationException(
                    f"input {name}: the {field} of a {entry['class']} is {_kind(entry[field])}, "
                    "not a string"
                )

    for name, value in job_order.items():
        visit_class(value, ("File", "Directory"), functools.partial(check, name))


def check_step_inputs(name: str, step: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    """Raise WorkflowException for inputs that a step of a workflow cannot be given."""
    scattered = aslist(step["scatter"]) if "scatter" in step else []
    for key in scattered:
        if not isinstance(inputs[key], MutableSequence):
            raise WorkflowException(
                f"{name}: {shortname(key)!r} is scattered over, but is {_kind(inputs[key])}, "
                "not an array"
            )
    lengths = {shortname(key): len(inputs[key]) for key in scattered}
    if step.get("scatterMethod", "dotproduct") == "dotproduct" and len(set(lengths.values())) > 1:
        items = ", ".join(f"{key!r} has {length} items" for key, length in lengths.items())
        raise WorkflowException(f"{name}: {items}: dotproduct needs as many of each")
    for parameter in step["inputs"]:
        if parameter.get("loadContents"):
            for value in _leaves(inputs[parameter["id"]]):
                if not isinstance(value, Mapping):
                    raise WorkflowException(
                        f"{name}: {shortname(parameter['id'])!r} is {_kind(value)}, not a File "
                        "whose contents can be loaded"
                    )


def _check_and_start(
    original: Callable[..., Any], job_order: Any, *arguments: Any, **kw: Any
) -> Any:
    if job_order is not None:
        check_job_order(job_order)
    return original(job_order, *arguments, **kw)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, MutableSequence):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield value


def _kind(value: Any) -> str:
    """What a value is, as CWL calls it."""
    match value:
        case None:
            return "null"
        case str():
            return "a string"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case {"class": ("File" | "Directory") as kind}:
            return f"a {kind}"
        case Mapping():
            return "a map"
    return "an array"
