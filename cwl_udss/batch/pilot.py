# SPDX-License-Identifier: Apache-2.0
"""Steps inside allocations that stay: Parsl gets these, and gives steps to workers in them.

For thousands of steps of seconds, each of which would wait longer in a batch system's queue than it
runs. Needs `pip install cwl-udss[parsl]`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from cwl_udss.batch.backend import StepRequest, Waiting
from cwl_udss.batch.poller import JobEnd
from cwl_udss.batch.run_directory import Entry, RunDirectory, exports
from cwl_udss.batch.system import BatchError, Cause, JobState, JobStatus, clock
from cwl_udss.settings import Settings
from cwl_udss.steps.runner import run_once
from cwl_udss.steps.spec import UnreadableStep, read_result

SYSTEMS = ("pbs", "slurm", "lsf", "local")
_PROGRAMS = str(Path(sys.executable).parent)
_DEFAULT_WALLTIME = 3600
_HEARTBEAT_SECONDS = 5
# Parsl looks whether more allocations are needed, or fewer.
_LOOK_SECONDS = 2.0


class PilotStep:
    """A step that was given to Parsl."""

    def __init__(self, entry: Entry, done: Future[None], interrupted: Future[None]) -> None:
        self._entry = entry
        self._done = done
        self._interrupted = interrupted

    @property
    def job(self) -> str:
        """Nothing: it is none of a batch system's."""
        return ""

    def wait(self) -> JobEnd:
        """Wait until its worker has ended it, or is no more."""
        ended, _ = futures.wait(
            (self._done, self._interrupted), return_when=futures.FIRST_COMPLETED
        )
        if self._done not in ended:
            return _no_result(Cause.DELETED, "the run was interrupted")
        failure = self._done.exception()
        try:
            return JobEnd(result=read_result(self._entry.path), status=None)
        except UnreadableStep:
            words = f"{type(failure).__name__}: {failure}" if failure else ""
            return _no_result(Cause.NODE_LOST, words)


def _no_result(cause: Cause, words: str) -> JobEnd:
    status = JobStatus(state=JobState.ENDED, cause=cause, words=words)
    return JobEnd(result=None, status=status)


class PilotBackend:
    """Gives steps to the workers of a Parsl executor."""

    name = "the pilot"

    def __init__(self, app: Callable[[str], Future[None]], cores_per_step: int) -> None:
        """`app` has a worker run run_in_worker(); a worker has `cores_per_step`."""
        self._app = app
        self._cores_per_step = cores_per_step
        self._lock = threading.Lock()
        self._steps: dict[str, Future[None]] = {}
        self._interrupted: Future[None] = Future()

    def submit(self, entry: Entry, request: StepRequest) -> Waiting:
        """Have a step run. Raises BatchError for one that asks for more than a worker has."""
        if request.resources.cores > self._cores_per_step:
            raise BatchError(
                f"it asks for {request.resources.cores} cores, and a worker of the pilot has "
                f"{self._cores_per_step}",
                "raise --udss-pilot-cores",
            )
        with self._lock:  # Parsl counts its tasks without one
            done = self._app(str(entry.path))
            self._steps[entry.name] = done
        done.add_done_callback(lambda future: self._forget(entry))
        return PilotStep(entry, done, self._interrupted)

    def running(self, entry: Entry, name: str) -> Waiting | None:
        """Nothing: the workers have ended with their driver."""
        return None

    def stop(self) -> None:
        """Let nobody wait any more; what runs ends with the allocations (see pilot_backend)."""
        if not self._interrupted.done():
            self._interrupted.set_result(None)

    def remaining(self) -> list[str]:
        """Return the steps that have not ended."""
        return sorted(self._steps)

    def cause_in_log(self, log: str) -> Cause | None:
        """Nothing: a step of a pilot has no log of its own."""
        return None

    def _forget(self, entry: Entry) -> None:
        self._steps.pop(entry.name, None)


def run_in_worker(directory: str) -> None:
    """Run a step in a worker of Parsl's."""
    run_once(Path(directory), os.environ)


@contextlib.contextmanager
def pilot_backend(
    run: RunDirectory, settings: Settings, environment: Mapping[str, str]
) -> Iterator[PilotBackend]:
    """Have steps run by workers in allocations. Raises BatchError if Parsl is not installed."""
    try:
        # Only of use here, and slow to import.
        from parsl import Config, python_app  # noqa: PLC0415
        from parsl.dataflow.dflow import DataFlowKernel  # noqa: PLC0415
        from parsl.executors import HighThroughputExecutor  # noqa: PLC0415
    except ImportError as error:
        raise BatchError("Parsl is not installed", "pip install 'cwl-udss[parsl]'") from error
    logging.getLogger("parsl").setLevel(logging.CRITICAL)  # what fails is told by us
    cores = settings.batch_cores or len(os.sched_getaffinity(0))
    executor = HighThroughputExecutor(
        label="pilot",
        provider=_provider(settings, cores, environment),
        cores_per_worker=settings.pilot_cores,
        max_workers_per_node=max(1, cores // settings.pilot_cores),
        heartbeat_period=_HEARTBEAT_SECONDS,
        heartbeat_threshold=6 * _HEARTBEAT_SECONDS,
        encrypted=False,
        # Parsl looks for its programs on PATH, where an environment that is not activated is not.
        interchange_launch_cmd=[f"{_PROGRAMS}/interchange.py"],
    )
    kernel = DataFlowKernel(
        Config(
            executors=[executor],
            run_dir=str(run.path / "pilot"),
            initialize_logging=False,
            strategy="simple",
            strategy_period=_LOOK_SECONDS,
            usage_tracking=0,
        )
    )
    try:
        yield PilotBackend(python_app(run_in_worker, data_flow_kernel=kernel), settings.pilot_cores)
    finally:
        kernel.cleanup()


def provider_options(
    settings: Settings, cores: int, environment: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """Return which of Parsl's providers gets allocations, and its options; the `launcher` by name.

    A node of an allocation has so many cores.
    """
    options: dict[str, Any] = {
        "nodes_per_block": settings.pilot_nodes,
        "init_blocks": 1,
        "min_blocks": 0,
        "max_blocks": settings.pilot_allocations,
        "worker_init": "\n".join((*exports(environment), f"PATH={shlex.quote(_PROGRAMS)}:$PATH")),
    }
    if settings.batch == "local":
        return "LocalProvider", options
    several = settings.pilot_nodes > 1
    options["walltime"] = clock(settings.batch_walltime or _DEFAULT_WALLTIME)
    directive = {"pbs": "#PBS", "slurm": "#SBATCH", "lsf": "#BSUB"}[str(settings.batch)]
    words = " ".join(settings.batch_options)
    options["scheduler_options"] = f"{directive} {words}" if words else ""
    if settings.batch == "pbs":
        parts = [f"mem={settings.batch_memory}mb"] if settings.batch_memory else []
        parts += [settings.batch_chunk] if settings.batch_chunk else []
        options |= {
            "queue": settings.batch_queue,
            "account": settings.batch_account,
            "cpus_per_node": cores,
            "select_options": "".join(f":{part}" for part in parts),
            "launcher": "MpiExecLauncher" if several else "SimpleLauncher",
        }
        return "PBSProProvider", options
    options["cores_per_node"] = cores
    if settings.batch == "slurm":
        options |= {
            "partition": settings.batch_queue,
            "account": settings.batch_account,
            "mem_per_node": math.ceil((settings.batch_memory or 0) / 1024) or None,  # GiB
            "exclusive": False,
            "launcher": "SrunLauncher" if several else "SimpleLauncher",
        }
        return "SlurmProvider", options
    options |= {"queue": settings.batch_queue, "project": settings.batch_project}
    return "LSFProvider", options


def _provider(settings: Settings, cores: int, environment: Mapping[str, str]) -> Any:
    from parsl import launchers, providers  # noqa: PLC0415

    name, options = provider_options(settings, cores, environment)
    if "launcher" in options:
        options["launcher"] = getattr(launchers, options["launcher"])()
    return getattr(providers, name)(**options)
