# SPDX-License-Identifier: Apache-2.0
"""Inputs that no step can use."""

from __future__ import annotations

from typing import Any

import pytest
from cwltool.errors import WorkflowException
from schema_salad.exceptions import ValidationException

from cwl_udss.engine.inputs.checks import check_job_order, check_step_inputs


def check(inputs: dict[str, Any], **step: Any) -> None:
    check_step_inputs("step each", {"inputs": [{"id": name} for name in inputs], **step}, inputs)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        ("abc", "a string"),
        (True, "a boolean"),
        (1.5, "a number"),
        ({"class": "Directory", "location": "x"}, "a Directory"),
        ({"class": "File", "location": "x"}, "a File"),
        ({"x": []}, "a map"),
    ],
)
def test_only_arrays_are_scattered_over(value: Any, kind: str) -> None:
    with pytest.raises(WorkflowException, match=f"step each: 'a' .* is {kind}, not an array"):
        check({"w#each/a": value}, scatter="w#each/a")


def test_arrays_side_by_side_are_of_one_length() -> None:
    inputs = {"a": [1, 2], "b": [1]}
    with pytest.raises(WorkflowException, match="'a' has 2 items, 'b' has 1 items"):
        check(inputs, scatter=["a", "b"], scatterMethod="dotproduct")
    for method in ("nested_crossproduct", "flat_crossproduct"):
        check(inputs, scatter=["a", "b"], scatterMethod=method)


def test_what_may_be() -> None:
    check({"a": [], "b": None, "c": "x"}, scatter="a")
    check({"a": None, "b": {"class": "File"}})


def test_contents_are_those_of_files() -> None:
    step = {"inputs": [{"id": "a", "loadContents": True}]}
    for value in (None, {"class": "File"}, [[{"class": "File"}], None]):
        check_step_inputs("step each", step, {"a": value})
    with pytest.raises(WorkflowException, match="'a' is a string, not a File"):
        check_step_inputs("step each", step, {"a": [{"class": "File"}, "x"]})


@pytest.mark.parametrize("value", [None, 3, ["x"]])
def test_a_path_is_text(value: Any) -> None:
    files = [{"class": "File", "path": "x"}, {"class": "File", "path": value}]
    with pytest.raises(ValidationException, match="input a: the path of a File is "):
        check_job_order({"a": {"record": files}})
    check_job_order({"a": files[:1], "b": {"class": "File", "contents": "x"}})
