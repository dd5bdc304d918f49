# SPDX-License-Identifier: Apache-2.0
"""A run of cwltool whose steps are jobs: where its directory is, how it ends, what remains."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from cwl_udss.batch.backend import Backend, job_backend
from cwl_udss.batch.jobs import BatchSteps
from cwl_udss.batch.pilots.capacity import plan_capacity
from cwl_udss.batch.pilots.pilot import check_parsl, pilot_backend
from cwl_udss.batch.run_directory import RunDirectory, new_run_name
from cwl_udss.batch.systems.client import Client
from cwl_udss.batch.systems.pbs import Pbs
from cwl_udss.batch.systems.slurm import Slurm
from cwl_udss.batch.systems.system import BatchError, BatchSystem, some_of
from cwl_udss.machine.quantities import counted
from cwl_udss.settings.settings import Settings
from cwl_udss.staging import remove_tree

_logger = logging.getLogger(__name__)

SYSTEMS: Mapping[str, Callable[[], BatchSystem]] = {"pbs": Pbs, "slurm": Slurm}
_MOST_STEPS_AT_ONCE = 2000
"""Each waits on a thread."""


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """What the command line says of it."""

    directory: Path
    is_shared: bool
    """Several drivers may run in the directory: it belongs to a cache."""
    detaches: bool
    """An interrupt leaves the jobs running."""


def plan_run(options: argparse.Namespace, settings: Settings) -> BatchPlan:
    """Return where the run is. Raises BatchError for options that go with no such run, and if one
    is to be resumed that is not there."""
    if settings.batch not in SYSTEMS and not settings.pilot:
        raise _needs_pilot(settings)
    detaches = bool(options.udss_detach)
    if detaches and settings.pilot:
        raise BatchError(
            "--udss-detach is for jobs, and the workers of a pilot end with their driver",
            "leave out one of the two",
        )
    if options.udss_resume:
        path = settings.runs / options.udss_resume  # an absolute one stays
        if not (path / "steps").is_dir():
            raise BatchError(f"there is no run {path}", f"look into {settings.runs}")
        return BatchPlan(directory=path, is_shared=False, detaches=detaches)
    if options.cachedir:
        path = Path(options.cachedir).absolute() / "batch"
        return BatchPlan(directory=path, is_shared=True, detaches=detaches)
    return BatchPlan(directory=settings.runs / new_run_name(), is_shared=False, detaches=detaches)


def _needs_pilot(settings: Settings) -> BatchError:
    return BatchError(f"--udss-batch {settings.batch} needs --udss-pilot", "add that")


def batch_client(settings: Settings, environment: Mapping[str, str]) -> Client:
    """Return the batch system of the settings. Raises BatchError if it is not here."""
    system = SYSTEMS.get(settings.batch or "")
    if system is None:
        raise _needs_pilot(settings)
    client = Client(system(), environment, settings.batch_rate)
    client.check()
    return client


class BatchRun:
    """The run: begun when all documents were read, ended with the driver."""

    def __init__(self, plan: BatchPlan, settings: Settings, environment: Mapping[str, str]) -> None:
        self._plan = plan
        self._settings = settings
        self._environment = environment
        self.directory = RunDirectory(plan.directory)
        self._steps: BatchSteps | None = None
        self._outlives_us = False
        self.made: set[str] = set()
        """The output directories of steps that have ended; to be added to by who runs them."""
        self.has_succeeded = False
        """To be set by who knows."""

    @property
    def most_at_once(self) -> int:
        """How many steps may be with the batch system at once."""
        wanted = self._settings.batch_jobs * self._settings.batch_group
        return min(wanted, _MOST_STEPS_AT_ONCE)

    @property
    def own_directory(self) -> Path | None:
        """What is of this run only; None if other drivers share it."""
        return None if self._plan.is_shared else self.directory.path

    @property
    def step_settings(self) -> Settings:
        """The settings as they are meant for steps: a pilot's are those of its nodes."""
        settings = self._settings
        if not settings.pilot:
            return settings
        return replace(settings, batch_cores=settings.pilot_cores, batch_memory=None)

    def steps(self) -> BatchSteps:
        """Return what runs the steps, once begun."""
        assert self._steps is not None
        return self._steps

    @contextlib.contextmanager
    def begun(self, *, keeps_work: bool) -> Iterator[None]:
        """Run. What belongs to a run that has not succeeded is kept anyway: for steps to be run
        again by hand, or all by a later driver.

        Raises BatchError or StoreError if there is no such batch system here, or the directory
        cannot be used.
        """
        backend_of_run = self._backend()  # before anything is made
        with (
            self.directory.driven(
                alone=not self._plan.is_shared,
                keeps_work=lambda: keeps_work or not self.has_succeeded,
            ),
            backend_of_run as backend,
            self._signals(),
        ):
            self._steps = BatchSteps(backend, self.directory)
            self._outlives_us = backend.outlives_driver
            _logger.info(
                "steps are run by %s; what belongs to the run is in %s",
                backend.name,
                self.directory.path,
            )
            yield
            if self.has_succeeded:
                self._clear(keeps_outputs=keeps_work)

    def _clear(self, *, keeps_outputs: bool) -> None:
        """Remove what nobody needs any more: until now, when the person has been told of the
        results, a later driver could still find them all."""
        self.directory.moves.forget()
        for made in self.made if not keeps_outputs else ():
            remove_tree(Path(made))

    def note_moves(self, moves: Sequence[tuple[str, str]]) -> None:
        """Write down what is going to be moved where. Raises OSError."""
        if not self._plan.is_shared:  # else the cache has it
            self.directory.moves.note(moves, self.directory.work)

    def _backend(self) -> contextlib.AbstractContextManager[Backend]:
        settings, environment = self._settings, self._environment
        client = batch_client(settings, environment) if settings.batch in SYSTEMS else None
        if settings.pilot:
            check_parsl()
            capacity = plan_capacity(settings, environment)
            return pilot_backend(self.directory, settings, capacity, client, environment)
        assert client is not None  # see plan_run()
        return job_backend(client, self.directory, settings.batch_group, environment)

    def stop(self) -> None:
        """Delete the jobs, and let no other start."""
        if self._steps is not None:
            self._steps.stop()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the run and its jobs, the second time without waiting for them;
        SIGHUP, the terminal gone, leaves them, as all do where the person has said so. A pilot's
        steps cannot be left."""
        handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.getsignal(number) for number in handled}
        received = 0

        def handle(number: int, frame: FrameType | None) -> None:
            nonlocal received
            received += 1
            is_left = self._outlives_us and (number == signal.SIGHUP or self._plan.detaches)
            if received > 1 or is_left:
                self._leave(number)
            handler = before[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)
            raise KeyboardInterrupt

        for number in handled:
            if before[number] is not signal.SIG_IGN:  # nohup(1)
                signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _leave(self, number: int) -> None:
        """End at once, and say what remains."""
        jobs = self._steps.remaining() if self._steps is not None else []
        what, how_left = ("job", "left behind") if self._outlives_us else ("step", "given up")
        named = f" ({some_of(jobs)})" if jobs else ""
        how = (
            "run the same command again"
            if self._plan.is_shared
            else f"add --udss-resume {self.directory.path} to the command"
        )
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(
                f"cwltool: {counted(len(jobs), what)} {how_left}{named}; to go on, {how}",
                file=sys.stderr,
                flush=True,
            )
        os._exit(128 + number)
