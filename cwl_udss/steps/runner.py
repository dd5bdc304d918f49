# SPDX-License-Identifier: Apache-2.0
"""Runs a step where its job has landed: `cwl-udss step`. Knows nothing of cwltool.

The step works on directories of the node, if one has room for it. What it leaves goes to the
filesystem that all nodes share when it has ended, and is in place before its result is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from cwl_udss import copies
from cwl_udss.errors import SandboxError, UdssError
from cwl_udss.identity import identity_files
from cwl_udss.images.manifest import this_platform
from cwl_udss.images.node import NodeImages
from cwl_udss.images.request import directory_image
from cwl_udss.images.store import Store
from cwl_udss.outputs import View, confine
from cwl_udss.programs import why_not_executed
from cwl_udss.resources import memory_kills
from cwl_udss.runtimes.probe import find_bubblewrap
from cwl_udss.sandbox import (
    SIGNAL_OFFSET,
    TEMPORARY_DIRECTORY,
    Bind,
    Ending,
    Result,
    RootFilesystem,
    Sandbox,
    Streams,
)
from cwl_udss.scratch import batch_job, free_bytes, local_directories, run_directory
from cwl_udss.staging import publish_directory, publish_file, work_directory
from cwl_udss.steps.spec import (
    OUTPUTS,
    RESULT,
    SPEC,
    STAGED,
    STARTED,
    STDERR,
    STDOUT,
    Started,
    StepEnding,
    StepResult,
    StepSpec,
    read_spec,
    to_json,
)
from cwl_udss.system_words import system_words

_logger = logging.getLogger(__name__)

_EXIT_FAILURE = 1
_EXIT_TERMINATED = SIGNAL_OFFSET + signal.SIGTERM
_KILLED = SIGNAL_OFFSET + signal.SIGKILL
_SIGNALS_SECONDS = 0.5
_ENDINGS = {
    Ending.EXITED: StepEnding.EXITED,
    Ending.TIME_LIMIT: StepEnding.TIME_LIMIT,
    Ending.NOT_STARTED: StepEnding.NOT_STARTED,
    Ending.KILLED: StepEnding.TERMINATED,
}


class _Terminated(BaseException):
    """The batch system, or a person, wants this to end."""


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
    for directory in directories:
        result = _run_submitted(directory)
        if result is None:
            continue
        code = result.exit_code or code
        if result.ending is StepEnding.TERMINATED:
            break
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
    streams = _StreamPaths(stdin=spec.stdin, stdout=spec.stdout, stderr=spec.stderr)
    with _work(spec, directory, environment) as work:
        run = _run(spec, work, streams, environment)
        for line in _put_outputs(spec, work / OUTPUTS, outputs):
            print(f"removed {line}", file=sys.stderr)
    print(f"{spec.name}: {run.result.ending.value}, exit code {run.result.exit_code}")
    if run.problem:
        print(run.problem)
    print(f"what it has left is in {outputs}")
    return run.result.exit_code


def run_once(directory: Path, environment: Mapping[str, str]) -> StepResult | None:
    """Run a step and leave its result beside its spec. None if another job has begun it before.

    Whatever goes wrong is in the result; raises OSError if not even that can be written.
    """
    started = _start(directory, environment)
    if started is None:
        return None
    try:
        result = _result(directory, started, environment)
    except UdssError as error:
        result = _ended_early(started, StepEnding.REFUSED, str(error))
    except OSError as error:
        result = _ended_early(started, StepEnding.REFUSED, system_words(error))
    except _Terminated:
        result = _ended_early(started, StepEnding.TERMINATED, "")
    with _ignoring_terminated():
        with work_directory(directory / "work") as work:
            publish_file(directory / RESULT, to_json(result), work)
            publish_file(directory.parent.parent / "ended" / directory.name, b"", work)
        (directory / "work").rmdir()
    return result


def _run_submitted(directory: Path) -> StepResult | None:
    with _raising_terminated():
        result = run_once(directory, os.environ)
    if result is None:
        _logger.warning("another job has run %s", directory)
    elif result.problem:
        print(f"cwl-udss: {result.problem}", file=sys.stderr)
    return result


def _start(directory: Path, environment: Mapping[str, str]) -> Started | None:
    """Note who runs the step. A batch system may run a job twice; the step is run once."""
    started = Started(
        node=socket.gethostname(),
        process=os.getpid(),
        job=batch_job(environment),
        time=time.time(),
    )
    # Whole when it appears, and only one can appear: link(2) never replaces.
    made = directory / f"{STARTED}.{started.node}.{started.process}"
    made.write_bytes(to_json(started))
    try:
        os.link(made, directory / STARTED)
    except FileExistsError:
        return None
    except OSError:  # there are no hard links here
        with contextlib.suppress(FileExistsError), open(directory / STARTED, "xb") as stream:
            stream.write(to_json(started))
            return started
        return None
    finally:
        made.unlink()
    return started


def _result(directory: Path, started: Started, environment: Mapping[str, str]) -> StepResult:
    spec = read_spec(directory)
    streams = _StreamPaths(
        stdin=spec.stdin,
        stdout=spec.stdout or str(directory / STDOUT),
        stderr=spec.stderr or str(directory / STDERR),
    )
    with _work(spec, directory, environment) as work:
        run = _run(spec, work, streams, environment)
        with _ignoring_terminated():
            removed = _put_outputs(spec, work / OUTPUTS, directory / OUTPUTS)
    ending, usage = _ENDINGS[run.result.ending], run.result.usage
    if run.memory_kills and run.result.exit_code == _KILLED:
        ending = StepEnding.OUT_OF_MEMORY
    return StepResult(
        ending=ending,
        exit_code=run.result.exit_code,
        node=started.node,
        started=run.started,
        ended=time.time(),
        processor_seconds=usage.processor_seconds if usage else None,
        memory_bytes=usage.memory_bytes if usage else None,
        outputs=list_outputs(directory / OUTPUTS),
        removed=tuple(removed),
        problem=f"{started.node}: {run.problem}" if run.problem else "",
    )


def _ended_early(started: Started, ending: StepEnding, problem: str) -> StepResult:
    return StepResult(
        ending=ending,
        exit_code=_EXIT_FAILURE if ending is StepEnding.REFUSED else _EXIT_TERMINATED,
        node=started.node,
        started=started.time,
        ended=time.time(),
        processor_seconds=None,
        memory_bytes=None,
        outputs={},
        problem=f"{started.node}: {problem}" if problem else "",
    )


@contextlib.contextmanager
def _work(spec: StepSpec, directory: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """A directory for what the step writes: of this node if it has the room, else where the step's
    files are. It holds `outputs`, filled as the driver has staged it, and `tmp`."""
    scratch = Path(spec.settings.scratch) if spec.settings.scratch else None
    places = [
        place
        for place in local_directories(scratch, environment)
        if free_bytes(place) >= spec.needed_bytes
    ]
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


@dataclass(frozen=True, kw_only=True)
class _StreamPaths:
    """Where the standard streams come from and go to; relative paths are in the output directory.
    Without a path input is at its end, and output the caller's."""

    stdin: str | None
    stdout: str | None
    stderr: str | None

    @contextlib.contextmanager
    def opened(self, outputs: Path) -> Iterator[Streams]:
        """Open them."""
        with contextlib.ExitStack() as stack:
            stdin = None if self.stdin is None else stack.enter_context(open(self.stdin, "rb"))
            descriptors: dict[str | None, int] = {}
            for path, own in ((self.stdout, sys.stdout), (self.stderr, sys.stderr)):
                if path is None:
                    own.flush()
                elif path not in descriptors:  # a second one would begin at the file's beginning
                    descriptors[path] = _opened(outputs / path, stack)  # an absolute one stays
            yield Streams(
                stdin=None if stdin is None else stdin.fileno(),
                stdout=descriptors.get(self.stdout, sys.stdout.fileno()),
                stderr=descriptors.get(self.stderr, sys.stderr.fileno()),
            )


def _run(spec: StepSpec, work: Path, streams: _StreamPaths, environment: Mapping[str, str]) -> _Run:
    settings = spec.settings
    started, kills = time.time(), memory_kills()
    with contextlib.ExitStack() as stack:
        runtime = find_bubblewrap(settings.bwrap, environment.get("PATH"))
        store = Store(Path(settings.store), libraries=tuple(map(Path, settings.library)))
        images = stack.enter_context(
            NodeImages(
                store,
                lambda: runtime,
                scratch=Path(settings.scratch) if settings.scratch else None,
                scratch_bytes=settings.scratch_images,
                environment=environment,
            )
        )
        sandbox = _sandbox(spec, _root(spec, store, images), work)
        descriptors = stack.enter_context(streams.opened(work / OUTPUTS))
        result = runtime.start(sandbox, descriptors).wait(spec.time_limit)
        problem = why_not_executed(sandbox, result)
    if result.exit_code > SIGNAL_OFFSET:
        # Who ends a job signals its processes one after the other: our turn may be about to come.
        time.sleep(_SIGNALS_SECONDS)
    return _Run(
        result=result, started=started, memory_kills=memory_kills() - kills, problem=problem
    )


def _root(spec: StepSpec, store: Store, images: NodeImages) -> RootFilesystem:
    if spec.image.startswith("/"):
        return images.root(directory_image(Path(spec.image), this_platform()))
    store.refresh()
    image = store.find_digest(spec.image)
    if image is None:
        raise SandboxError(
            f"the image of {spec.name} is not in the store {store.path} as this node sees it",
            "name a store on a filesystem that all nodes share, with --udss-store",
        )
    return images.root(image)


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
    )


def _opened(path: Path, stack: contextlib.ExitStack) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return stack.enter_context(open(path, "wb")).fileno()


def _put_outputs(spec: StepSpec, made: Path, place: Path) -> list[str]:
    """Move an output directory to the filesystem that all nodes share; there at once and whole.
    Returns what was removed from it before (see outputs.confine)."""
    own = Bind(source=str(made), destination=spec.output_directory)
    removed = confine(str(made), spec.output_directory, View((own, *spec.binds)))
    with work_directory(place.parent / "work") as work:
        copies.move(str(made), str(work / OUTPUTS))
        publish_directory(work / OUTPUTS, place)
    return removed


def list_outputs(directory: Path) -> dict[str, int | None]:
    """Return all that is below a directory, by relative path; the size of what is a file."""
    found: dict[str, int | None] = {}
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            path = os.path.join(parent, name)
            is_file = name in files and not os.path.islink(path)
            size = os.lstat(path).st_size if is_file else None
            found[os.path.relpath(path, directory)] = size
    return found


@contextlib.contextmanager
def _raising_terminated() -> Iterator[None]:
    """Have SIGTERM raise, so that what was begun is ended in order."""

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _ignoring_terminated() -> Iterator[None]:
    """Finish what must not be half done; a batch system that means it sends SIGKILL later."""
    before = signal.getsignal(signal.SIGTERM)
    if before not in (signal.SIG_DFL, signal.SIG_IGN):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        if callable(before):
            signal.signal(signal.SIGTERM, before)
