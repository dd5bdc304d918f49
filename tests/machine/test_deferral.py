# SPDX-License-Identifier: Apache-2.0
"""Signals whose handlers are called later."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from cwl_udss.machine.deferral import Deferral, deferred


class Interrupted(Exception):
    """What the handler raises."""


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def number(request: pytest.FixtureRequest) -> Iterator[int]:
    """A signal with such a handler."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = signal.signal(request.param, interrupt)
    yield request.param
    signal.signal(request.param, before)


def test_what_has_come_is_raised_at_the_end(number: int) -> None:
    done = False

    def work() -> None:
        nonlocal done
        with deferred():
            os.kill(os.getpid(), number)
            done = True

    with pytest.raises(Interrupted):
        work()
    assert done
    with pytest.raises(Interrupted):
        os.kill(os.getpid(), number)


def test_it_ends_once(number: int) -> None:
    deferral = Deferral()
    os.kill(os.getpid(), number)
    with pytest.raises(Interrupted):
        deferral.end()
    deferral.end()


def test_one_within_another(number: int) -> None:
    outer = Deferral()
    with deferred():
        os.kill(os.getpid(), number)
    with pytest.raises(Interrupted):
        outer.end()


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with deferred():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    signal.signal(signal.SIGHUP, before)


def test_on_another_thread_nothing_is_deferred(number: int) -> None:
    handler = signal.getsignal(number)
    thread = threading.Thread(target=Deferral)
    thread.start()
    thread.join()
    assert signal.getsignal(number) is handler
