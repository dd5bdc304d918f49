# SPDX-License-Identifier: Apache-2.0
"""Records do what frozen dataclasses do."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from cwl_udss.records import record


@record(frozen=True, kw_only=True)
class Ours:
    first: int
    second: tuple[str, ...] = ()
    third: dict[str, int] = dataclasses.field(default_factory=dict, compare=False)
    secret: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Theirs:
    first: int
    second: tuple[str, ...] = ()
    third: dict[str, int] = dataclasses.field(default_factory=dict, compare=False)
    secret: str = dataclasses.field(default="", repr=False)


@record(frozen=True)
class Pair:
    one: int
    other: int = 2


@pytest.mark.parametrize(
    "values", [{"first": 1}, {"first": 1, "second": ("a",), "third": {"b": 2}, "secret": "c"}]
)
def test_they_are_the_same(values: dict[str, Any]) -> None:
    ours, theirs = Ours(**values), Theirs(**values)
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert repr(ours).removeprefix("Ours") == repr(theirs).removeprefix("Theirs")
    assert (ours == Ours(**{**values, "third": {}}), hash(ours)) == (True, hash(Ours(**values)))
    assert ours != theirs
    assert dataclasses.replace(ours, first=2) == Ours(**{**values, "first": 2}) != ours
    assert pickle.loads(pickle.dumps(ours)) == ours


@pytest.mark.parametrize("values", [{}, {"second": ()}, {"first": 1, "nonesuch": 2}])
def test_wrong_arguments_are_refused(values: dict[str, Any]) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            kind(**values)


def test_order_counts_where_it_may() -> None:
    assert Pair(1) == Pair(one=1, other=2)
    match Pair(3, 4):
        case Pair(one, other):
            assert (one, other) == (3, 4)
    with pytest.raises(TypeError):
        Pair(1, 2, 3)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Ours(1)  # type: ignore[misc]


def test_nobody_changes_them() -> None:
    pair = Pair(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        pair.one = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del pair.one
