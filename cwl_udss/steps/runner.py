# SPDX-License-Identifier: Apache-2.0
"""Runs a step where its job has landed: `cwl-udss step`. Knows nothing of cwltool.

The step works on directories of the node, if one has room for it. What it leaves goes to the
filesystem that all nodes share when it has ended, and is in place before its result is.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cwl_udss.errors import StreamError, UdssError
from cwl_udss.files import copies
from cwl_udss.files.scratch import free_bytes, local_directories, run_directory
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.images.node.node import NodeImages
from cwl_udss.images.store.store import Store
from cwl_udss.machine.resources import memory_kills
from cwl_udss.runtimes.choosing.choice import RuntimeFinder
from cwl_udss.sandbox import (
    SIGNAL_OFFSET,
    TEMPORARY_DIRECTORY,
    Bind,
    Ending,
    Result,
    RootFilesystem,
    Runtime,
    Sandbox,
    Usage,
)
from cwl_udss.staging import publish_file, work_directory
from cwl_udss.steps.beginning import begin
from cwl_udss.steps.delivery import list_outputs, put_outputs
from cwl_udss.steps.image import step_root
from cwl_udss.steps.spec import (
    OUTPUTS,
    RESULT,
    SPEC,
    STAGED,
    STDERR,
    STDOUT,
    Started,
    StepEnding,
    StepResult,
    StepSpec,
    read_spec,
    to_json,
)
from cwl_udss.steps.streams import StreamPaths
from cwl_udss.steps.termination import Terminated, Termination
from cwl_udss.surroundings.identity import identity_files
from cwl_udss.surroundings.programs import why_not_executed

_logger = logging.getLogger(__name__)

_EXIT_FAILURE = 1
_EXIT_TERMINATED = SIGNAL_OFFSET + signal.SIGTERM
_KILLED = SIGNAL_OFFSET + signal.SIGKILL
_SIGNALS_SECONDS = 0.5
_ENDINGS = {
    Ending.EXITED: StepEnding.EXITED,
    Ending.TIME_LIMIT: StepEnding.TIME_LIMIT,
    Ending.MEMORY_LIMIT: StepEnding.OUT_OF_MEMORY,
    Ending.NOT_STARTED: StepEnding.NOT_STARTED,
    Ending.KILLED: StepEnding.TERMINATED,
}


@dataclass(frozen=True)
class _Job:
    """In what a step runs."""

    environment: Mapping[str, str]
    termination: Termination
    only: str = ""
    """See sandbox.Sandbox.only_in_job."""


@dataclass(frozen=True, kw_only=True)
class _Run:
    """How the sandbox has ended, and what it has used."""

    result: Result
    started: float
    memory_kills: int
    problem: str
    """Why its program was not executed, "" if it was."""


def run_submitted(directories: Sequence[Path]) -> int:
    """Run steps one after the other, as their job. Returns an exit code for the batch system: that
    of the last step that has not ended well, else 0."""
    code = 0
    termination = Termination()
    with termination.handled():
        for directory in directories:
            if termination.has_come:
                return _EXIT_TERMINATED
            result = run_once(directory, os.environ, termination, is_alone=True)
            if result is None:
                _logger.warning("another job has run %s", directory)
                continue
            if result.problem:
                print(f"cwl-udss: {result.problem}", file=sys.stderr)
            code = result.exit_code or code
    return code


def run_by_hand(directory: Path, environment: Mapping[str, str]) -> int:
    """Run a step again, for a person who looks at what it says and leaves. Returns its exit code.

    Raises UdssError if it cannot be run here.
    """
    if not (directory / SPEC).exists():
        raise UdssError(
            f"{directory} is no directory of a step", "the run names it, when the step fails"
        )
    spec = read_spec(directory)
    outputs = next(
        path
        for number in range(1, sys.maxsize)
        if not (path := directory / f"again.{number}").exists()
    )
    streams = StreamPaths(stdin=spec.stdin, stdout=spec.stdout, stderr=spec.stderr)
    with _work(spec, directory, environment) as work:
        run = _run(spec, work, streams, _Job(environment, Termination()))
        for line in put_outputs(spec, work / OUTPUTS, outputs):
            print(f"removed {line}", file=sys.stderr)
    print(f"{spec.name}: {run.result.ending.value}, exit code {run.result.exit_code}")
    if run.problem:
        print(run.problem)
    print(f"what it has left is in {outputs}")
    return run.result.exit_code


def run_once(
    directory: Path,
    environment: Mapping[str, str],
    termination: Termination | None = None,
    *,
    is_alone: bool = False,
) -> StepResult | None:
    """Run a step and leave its result beside its spec. None if another job has begun it before.
    `is_alone` says whether this job runs no other meanwhile.

    Whatever goes wrong is in the result; raises OSError if not even that can be written.
    """
    started = begin(directory, environment)
    if started is None:
        return None
    try:
        only = started.job if is_alone else ""
        job = _Job(environment, termination or Termination(), only)
        result = _result(directory, started, job)
    except StreamError as error:
        result = _ended_early(started, StepEnding.NOT_KEPT, problem=str(error))
    except UdssError as error:
        result = _ended_early(started, StepEnding.REFUSED, problem=str(error))
    except OSError as error:
        result = _ended_early(started, StepEnding.REFUSED, problem=system_words(error))
    except Terminated as error:
        result = _ended_early(started, StepEnding.TERMINATED, error.usage)
    with work_directory(directory / "work") as work:
        publish_file(directory / RESULT, to_json(result), work)
        publish_file(directory.parent.parent / "ended" / directory.name, b"", work)
    (directory / "work").rmdir()
    return result


def _result(directory: Path, started: Started, job: _Job) -> StepResult:
    spec = read_spec(directory)
    streams = StreamPaths(
        stdin=spec.stdin,
        stdout=spec.stdout or str(directory / STDOUT),
        stderr=spec.stderr or str(directory / STDERR),
    )
    with contextlib.ExitStack() as stack:
        with job.termination.raised():
            work = stack.enter_context(_work(spec, directory, job.environment))
            run = _run(spec, work, streams, job)
        ending, usage = _ENDINGS[run.result.ending], run.result.usage
        try:
            removed = put_outputs(spec, work / OUTPUTS, directory / OUTPUTS)
        except OSError as error:
            problem = f"what it has left: {system_words(error)}"
            return _ended_early(started, StepEnding.NOT_KEPT, usage, problem)
    if job.termination.has_come and ending is StepEnding.EXITED and run.result.exit_code:
        ending = StepEnding.TERMINATED  # it was told to end, too, and has obeyed
    if run.memory_kills and run.result.exit_code == _KILLED:
        ending = StepEnding.OUT_OF_MEMORY
    return StepResult(
        ending=ending,
        exit_code=run.result.exit_code,
        node=started.node,
        started=run.started,
        ended=time.time(),
        usage=usage,
        outputs=list_outputs(directory / OUTPUTS),
        removed=tuple(removed),
        problem=f"{started.node}: {run.problem}" if run.problem else "",
        image=spec.image.described,
    )


def _ended_early(
    started: Started, ending: StepEnding, usage: Usage | None = None, problem: str = ""
) -> StepResult:
    return StepResult(
        ending=ending,
        exit_code=_EXIT_TERMINATED if ending is StepEnding.TERMINATED else _EXIT_FAILURE,
        node=started.node,
        started=started.time,
        ended=time.time(),
        usage=usage,
        outputs={},
        problem=f"{started.node}: {problem}" if problem else "",
    )


@contextlib.contextmanager
def _work(spec: StepSpec, directory: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """A directory for what the step writes: of this node if it has the room, else where the step's
    files are. It holds `outputs`, filled as the driver has staged it, and `tmp`."""
    scratch = Path(spec.settings.scratch) if spec.settings.scratch else None
    found = local_directories(scratch, environment)
    places = [place for place in found if free_bytes(place) >= spec.needed_bytes]
    if not places:
        _logger.warning(
            "no directory of this node has the %d MB that the step asks for: it works in %s",
            spec.needed_bytes >> 20,
            directory,
        )
    made = (
        run_directory(places, spec.needed_bytes) if places else work_directory(directory / "work")
    )
    with made as work:
        copies.copytree(str(directory / STAGED), str(work / OUTPUTS), symlinks=True)
        (work / "tmp").mkdir()
        yield work


def _run(spec: StepSpec, work: Path, streams: StreamPaths, job: _Job) -> _Run:
    settings = spec.settings
    scratch = Path(settings.scratch) if settings.scratch else None
    started, kills = time.time(), memory_kills()

    def run_by(runtime: Runtime) -> tuple[Result, str]:
        with contextlib.ExitStack() as stack:
            store = Store(Path(settings.store), libraries=tuple(map(Path, settings.library)))
            images = stack.enter_context(
                NodeImages(
                    store,
                    lambda: runtime,
                    scratch=scratch,
                    scratch_bytes=settings.scratch_images,
                    environment=job.environment,
                )
            )
            sandbox = _sandbox(spec, step_root(spec.image, store, images), work)
            sandbox = replace(sandbox, only_in_job=job.only)
            descriptors = stack.enter_context(streams.opened(work / OUTPUTS))
            start = functools.partial(runtime.start, sandbox, descriptors)
            result = job.termination.run(start, spec.time_limit)
            return result, why_not_executed(sandbox, result)

    own = (settings.runtime, settings.accept, settings.bwrap, scratch, job.environment)
    result, problem = RuntimeFinder(*own, settings.required).use(run_by)
    if result.exit_code > SIGNAL_OFFSET:
        # Who ends a job signals its processes one after the other: our turn may be about to come.
        time.sleep(_SIGNALS_SECONDS)
    kills = memory_kills() - kills
    return _Run(result=result, started=started, memory_kills=kills, problem=problem)


def _sandbox(spec: StepSpec, root: RootFilesystem, work: Path) -> Sandbox:
    own = (
        Bind(source=str(work / OUTPUTS), destination=spec.output_directory, writable=True),
        Bind(source=str(work / "tmp"), destination=TEMPORARY_DIRECTORY, writable=True),
    )
    return Sandbox(
        root=root,
        command=spec.command,
        environment=spec.environment,
        working_directory=spec.output_directory,
        directories=spec.directories,
        binds=(*own, *spec.binds),
        files=identity_files(root.here, home=spec.output_directory, network=spec.network),
        network=spec.network,
        shared_memory_bytes=spec.shared_memory_bytes,
        cores=spec.cores,
    )
