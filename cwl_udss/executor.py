# SPDX-License-Identifier: Apache-2.0
"""Runs a workflow's jobs side by side on this machine.

cwltool's own MultithreadedJobExecutor can deadlock when a step's image cannot be had: it joins its
threads while it holds the lock that they wait for. This one releases it first. It also counts what
the cgroup and the batch job allow instead of the whole machine.
"""

from __future__ import annotations

import itertools
import logging
import math
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.executors import JobExecutor
from cwltool.job import ContainerCommandLineJob, JobBase
from cwltool.process import Process
from cwltool.workflow import Workflow

from cwl_udss.machine.resources import Resources

if TYPE_CHECKING:
    from cwl_utils.types import CWLObjectType
    from cwltool.utils import JobsType

ResourceRequest = dict[str, int | float]


@dataclass(frozen=True, kw_only=True)
class _Share:
    """What a step takes of the machine: cores, and memory in MiB."""

    cores: float
    ram: float

    def __add__(self, other: _Share) -> _Share:
        return _Share(cores=self.cores + other.cores, ram=self.ram + other.ram)

    def __sub__(self, other: _Share) -> _Share:
        return _Share(cores=self.cores - other.cores, ram=self.ram - other.ram)


@dataclass(frozen=True, kw_only=True)
class _Step:
    """A step that waits for room."""

    number: int
    job: JobBase
    context: RuntimeContext


class _Queue:
    """Steps in the order in which they came, by what they take: the steps of a scatter mostly take
    the same, so that one of them says whether any of them fits."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._steps: defaultdict[_Share, deque[_Step]] = defaultdict(deque)

    def __len__(self) -> int:
        return sum(map(len, self._steps.values()))

    def add(self, share: _Share, job: JobBase, context: RuntimeContext) -> None:
        self._steps[share].append(_Step(number=next(self._numbers), job=job, context=context))

    def take(self, fits: Callable[[_Share], bool]) -> tuple[_Share, _Step] | None:
        """Remove and return the first step that fits."""
        fitting = [share for share, steps in self._steps.items() if steps and fits(share)]
        if not fitting:
            return None
        share = min(fitting, key=lambda share: self._steps[share][0].number)
        return share, self._steps[share].popleft()


class ParallelExecutor(JobExecutor):
    """Runs as many steps at once as the machine has cores and memory for."""

    def __init__(self, resources: Resources, stop_steps: Callable[[], None]) -> None:
        """`stop_steps` kills the steps that are running and lets no other start."""
        super().__init__()
        self._resources = resources
        self._stop_steps = stop_steps
        self._waiting = _Queue()
        self._running: dict[threading.Thread, _Share] = {}
        self._used = _Share(cores=0, ram=0)
        self._failure: Exception | None = None
        self._temporary_directory_lock = threading.Lock()

    @property
    def most_made(self) -> int:
        """How many steps of a scatter are to have been made and not ended: those that may run, and
        as many again to take their places."""
        return 2 * self._resources.cores

    def are_steps_running(self) -> bool:
        """Say whether any step runs, or waits for room."""
        return bool(self._running or self._waiting)

    def select_resources(
        self, request: ResourceRequest, runtime_context: RuntimeContext
    ) -> ResourceRequest:
        """Give a step what it asks for as far as this machine has it (cwltool's hook)."""
        selected: ResourceRequest = {}
        for name, whole in (("cores", self._resources.cores), ("ram", self._resources.ram)):
            least, most = request[f"{name}Min"], request[f"{name}Max"]
            if least > whole:
                raise WorkflowException(
                    f"Requested at least {least} {name} but only {whole} available"
                )
            selected[name] = math.ceil(min(most, whole))
        return {**_least(request), **selected}

    def run_jobs(
        self,
        process: Process,
        job_order_object: CWLObjectType,
        logger: logging.Logger,
        runtime_context: RuntimeContext,
    ) -> None:
        """Run all jobs of a process (called by cwltool's JobExecutor)."""
        lock = runtime_context.workflow_eval_lock
        if lock is None:
            raise WorkflowException("runtimeContext.workflow_eval_lock must not be None")
        _start_provenance(process, runtime_context)
        try:
            with lock:
                for job in process.job(job_order_object, self.output_callback, runtime_context):
                    if job is not None:
                        context = _with_provenance(process, job, job_order_object, runtime_context)
                        self._add(job, context)
                    self._start_steps(lock)
                    if job is None:
                        if not self._running:
                            logger.error("Workflow cannot make any more progress.")
                            break
                        self._wait(lock)
                while self._running:
                    self._wait(lock)
        except BaseException:
            self._stop_steps()
            raise
        finally:
            # Without the lock: a step needs it to end.
            for thread in list(self._running):
                thread.join()

    def _add(self, job: JobsType, context: RuntimeContext) -> None:
        """Run a step when there is room for it, anything else (an expression) at once."""
        if not isinstance(job, JobBase):
            job.run(context)
            return
        job.builder = context.builder or job.builder
        if job.outdir is not None:
            self.output_dirs.add(job.outdir)
        self._waiting.add(self._share(job), job, context)

    def _start_steps(self, lock: threading.Condition) -> None:
        """Start the steps that fit, in the order in which they came."""
        while (taken := self._waiting.take(self._fits)) is not None:
            share, step = taken
            # A thread per step, which lives as long as it: the kernel kills a sandbox with the
            # thread that made it.
            thread = threading.Thread(
                target=self._run, args=(step.job, step.context, lock), name=step.job.name
            )
            self._running[thread] = share
            self._used += share
            thread.start()

    def _share(self, job: JobBase) -> _Share:
        return _Share(cores=job.builder.resources["cores"], ram=job.builder.resources["ram"])

    def _fits(self, share: _Share) -> bool:
        needed, whole = self._used + share, self._resources
        return needed.cores <= whole.cores and needed.ram <= whole.ram

    def _run(self, job: JobBase, context: RuntimeContext, lock: threading.Condition) -> None:
        failure: Exception | None = None
        try:
            job.run(context, self._temporary_directory_lock)
        except Exception as error:  # noqa: BLE001 - raised again on the main thread
            failure = error
        finally:
            with lock:
                self._failure = self._failure or failure
                self._used -= self._running.pop(threading.current_thread())
                lock.notify_all()

    def _wait(self, lock: threading.Condition) -> None:
        """Wait until a step has ended, and start what then fits; raise what one raised."""
        if self._running and self._failure is None:
            lock.wait()
        if self._failure is not None:
            raise self._failure
        self._start_steps(lock)


class BatchExecutor(ParallelExecutor):
    """Has as many steps with the batch system at once as that is to be burdened with."""

    def __init__(
        self,
        most_at_once: int,
        cores_here: int,
        stop_steps: Callable[[], None],
        made: Collection[str],
    ) -> None:
        """`cores_here` are for steps without an image, which run on this machine; `made` is going
        to have the output directories of steps that have ended."""
        super().__init__(Resources(cores=most_at_once, ram=sys.maxsize), stop_steps)
        self._cores_here = cores_here
        self._made = made

    def run_jobs(
        self,
        process: Process,
        job_order_object: CWLObjectType,
        logger: logging.Logger,
        runtime_context: RuntimeContext,
    ) -> None:
        """Run all jobs of a process (called by cwltool's JobExecutor)."""
        super().run_jobs(process, job_order_object, logger, runtime_context)
        # cwltool moves what is below these directories. Of a run that has failed all stays where it
        # is, to go on with.
        if self.final_status == ["success"]:
            self.output_dirs.update(self._made)

    def select_resources(
        self, request: ResourceRequest, runtime_context: RuntimeContext
    ) -> ResourceRequest:
        """Give a step what it asks for at least: that is what its job is going to ask for."""
        return _least(request)

    def _share(self, job: JobBase) -> _Share:
        """One of so many places; of those that run here no more at once than there are cores."""
        if isinstance(job, ContainerCommandLineJob):
            return _Share(cores=1, ram=0)
        places = self._resources.cores
        wanted = job.builder.resources["cores"] * places / self._cores_here
        return _Share(cores=min(wanted, places), ram=0)


def _least(request: ResourceRequest) -> ResourceRequest:
    """What a step asks for at least, by the names that cwltool has for what a step gets: those of
    the directories differ, all others (of CUDARequirement, say) are the same."""
    asked = {
        name.removesuffix("Min"): math.ceil(least)
        for name, least in request.items()
        if name.endswith("Min")
    }
    return {_RECEIVED_AS.get(name, name): least for name, least in asked.items()}


_RECEIVED_AS = {"tmpdir": "tmpdirSize", "outdir": "outdirSize"}


def _start_provenance(process: Process, context: RuntimeContext) -> None:
    """Give a single tool the provenance profile that a workflow makes for itself, as cwltool's
    SingleJobExecutor does."""
    if isinstance(process, Workflow) or context.research_obj is None:
        return
    process.provenance_object = context.research_obj.initialize_provenance(
        full_name=context.cwl_full_name,
        host_provenance=context.prov_host,
        user_provenance=context.prov_user,
        orcid=context.orcid,
        run_uuid=context.research_obj.ro_uuid,
        fsaccess=context.make_fs_access(""),
    )
    process.parent_wf = process.provenance_object


def _with_provenance(
    process: Process, job: JobsType, job_order: CWLObjectType, context: RuntimeContext
) -> RuntimeContext:
    """Record the start of a job, and return the context in which it records the rest."""
    research_object = context.research_obj
    if research_object is None:
        return context
    profile = job.prov_obj if isinstance(process, Workflow) else process.provenance_object
    if not profile:
        return context
    context = context.copy()
    context.prov_obj = profile
    profile.fsaccess = context.make_fs_access("")
    profile.evaluate(process, job, job_order, research_object)
    context.process_run_id = profile.record_process_start(process, job)
    return context
