# SPDX-License-Identifier: Apache-2.0
"""A module that is put off is imported when something of it is used."""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from cwl_udss.machine.late_modules import LateModule, put_off

MODULE = "colorsys"  # of the standard library, and nobody else's here


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> LateModule:
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    put_off([MODULE, "there is none"])
    module = importlib.import_module(MODULE)
    assert isinstance(module, LateModule)
    return module


def test_it_is_imported_when_it_is_used(late: LateModule) -> None:
    assert late.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)
    assert not isinstance(sys.modules[MODULE], LateModule)


@pytest.mark.usefixtures("late")
def test_a_name_of_it_is_the_modules_own() -> None:
    from colorsys import ONE_THIRD

    assert sys.modules[MODULE].ONE_THIRD is ONE_THIRD


def test_threads_may_use_it_at_once(late: LateModule) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: late.rgb_to_hsv, range(64)))
    assert len(found) == 1


def test_what_there_is_not_fails_where_it_is_imported(late: LateModule) -> None:
    assert "there is none" not in sys.modules
    with pytest.raises(AttributeError):
        _ = late.nothing
