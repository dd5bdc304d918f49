# SPDX-License-Identifier: Apache-2.0
"""Steps that are to end before their time: in good order, and nothing half done."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from cwl_udss.sandbox import Ending, Result, SandboxProcess, Usage


class Terminated(BaseException):
    """The batch system, or a person, wants this to end."""

    def __init__(self, usage: Usage | None = None) -> None:
        super().__init__()
        self.usage = usage
        """What was used until then, if anything has run."""


class Termination:
    """What SIGTERM does to a job: it ends what a step is at, and no other step begins. What must
    not be half done is finished; a batch system that means it sends SIGKILL later."""

    def __init__(self) -> None:
        self.has_come = False
        self._is_raised = False
        self._process: SandboxProcess | None = None

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Have the signal do that, and no harm elsewhere."""
        before = signal.signal(signal.SIGTERM, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    @contextlib.contextmanager
    def raised(self) -> Iterator[None]:
        """Have it raise Terminated in this block, once."""
        self._is_raised = True
        try:
            if self.has_come:
                raise Terminated
            yield
        finally:
            self._is_raised = False

    def run(self, start: Callable[[], SandboxProcess], time_limit: float | None) -> Result:
        """Run a sandbox to its end, or to ours. What raised between its start and the wait for it
        would leave it to nobody, and bubblewrap, killed before it is ready, leaves its child."""
        before, self._is_raised = self._is_raised, False
        try:
            self._process = start()
            if self.has_come:
                self._process.kill()
            result = self._process.wait(time_limit)
        finally:
            self._process, self._is_raised = None, before
        if self.has_come and result.ending is Ending.KILLED:
            raise Terminated(result.usage)
        return result

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.has_come = True
        if self._process is not None:
            self._process.kill()
        elif self._is_raised:
            self._is_raised = False
            raise Terminated
