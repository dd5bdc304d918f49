# SPDX-License-Identifier: Apache-2.0
"""The driver: a run of cwltool, as `cwltool` is typed, with `--udss` as one more container engine.

cli.py imports it when a compiled cwltool has been dealt with.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, cast

import cwltool.main
from cwl_utils.sandboxjs import set_js_engine
from cwltool.argparser import arg_parser
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.executors import JobExecutor, SingleJobExecutor
from cwltool.process import Process
from cwltool.utils import versionstring
from schema_salad.exceptions import ValidationException

import cwl_udss
from cwl_udss.config import add_options, load_settings
from cwl_udss.engine.failures import plain_words, tell_plainly
from cwl_udss.engine.job import SandboxedJob
from cwl_udss.engine.loaders import use_late_loaders
from cwl_udss.engine.places import (
    choose_places,
    given_prefixes,
    keep_left_outputs,
    place_steps,
)
from cwl_udss.engine.remote_inputs import RemoteInputs, remote_inputs
from cwl_udss.engine.scatter import pace_scatters, straighten_cwltool
from cwl_udss.engine.schema_cache import keep_schemas
from cwl_udss.engine.start import given_options
from cwl_udss.engine.tool import (
    MakeJob,
    SandboxedTool,
    extend_cwltool,
    make_tool,
    stop_host_steps,
)
from cwl_udss.engine.workflow import wait_for_running_steps
from cwl_udss.errors import ImageError, SettingsError, UdssError
from cwl_udss.executor import BatchExecutor, ParallelExecutor
from cwl_udss.images.pull import When
from cwl_udss.javascript import SandboxedNode
from cwl_udss.report.trace import note_since_start, tracing
from cwl_udss.resources import Resources, available_resources
from cwl_udss.sandbox import INPUT_DIRECTORY, OUTPUT_DIRECTORY, SIGNAL_OFFSET
from cwl_udss.scratch import local_directories, temporary_directory
from cwl_udss.settings import SETTINGS, Settings
from cwl_udss.steps.cache import StepCache, open_cache
from cwl_udss.steps.key import Contents
from cwl_udss.steps.shared import Steps
from cwl_udss.user_directories import home_directory
from cwl_udss.version import version_text
from cwl_udss.waiting import ended_by_signals

if TYPE_CHECKING:
    from cwl_udss.engine.batch_run import BatchRun

USAGE_ERROR = 2
INTERRUPTED = 130  # as a shell reports a process that SIGINT has ended
# cwltool's own for SIGTERM is its number. SIGHUP it leaves to the system.
_EXIT_CODES: Mapping[int, int] = {
    signal.SIGTERM: int(signal.SIGTERM),
    signal.SIGINT: INTERRUPTED,
    signal.SIGHUP: SIGNAL_OFFSET + signal.SIGHUP,
}

_ENGINE = "--udss is the container engine"
_NO_CONTAINER = "a sandbox leaves no container behind, and has no container id"
_NO_LIMITS = "the sandbox does not limit processors and memory; the batch system does"
# Options of cwltool that a sandbox of ours would not honour, by argparse's name: never ignored.
REFUSED_OPTIONS: Mapping[str, str] = {
    "singularity": _ENGINE,
    "podman": _ENGINE,
    "user_space_docker_cmd": _ENGINE,
    "use_container": _ENGINE,
    "image_base_path": "images are in the store (--udss-store)",
    "no_read_only": "the root filesystem is shared between steps, and never writable",
    "custom_net": "a step has no network, or with NetworkAccess the host's",
    "strict_memory_limit": _NO_LIMITS,
    "strict_cpu_limit": _NO_LIMITS,
    "no_match_user": "a step always runs as yourself",
    "rm_container": _NO_CONTAINER,
    "record_container_id": _NO_CONTAINER,
    "cidfile_dir": _NO_CONTAINER,
    "cidfile_prefix": _NO_CONTAINER,
}


def run(arguments: list[str]) -> int:
    """Run cwltool with these arguments. Returns the exit code."""
    given = given_options(arguments, os.environ)
    # main() looks the function up in its own module; there is no other way to add an option.
    cwltool.main.arg_parser = extended_parser  # type: ignore[attr-defined]
    documents: list[str] = []
    try:
        options, _ = extended_parser().parse_known_args(given)
        if not options.udss:
            for name in _options_given(options):
                print(f"cwltool: {name} is for runs with --udss: add that", file=sys.stderr)
                return USAGE_ERROR
            return int(cwltool.main.run(arguments, versionfunc=cwltool_version_text))
        documents += _documents(options)
        if not options.debug:
            tell_plainly(documents)
        return _run_with_udss(arguments, options)
    except Exception as error:
        if "--udss" not in given or ("--debug" in given and not isinstance(error, UdssError)):
            raise
        print(f"cwltool --udss: {plain_words(error, documents)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if "--udss" not in given:
            raise
        print("cwltool: interrupted", file=sys.stderr)
        return INTERRUPTED


@functools.cache
def extended_parser() -> argparse.ArgumentParser:
    """Return cwltool's own parser with one group more."""
    parser: argparse.ArgumentParser = arg_parser()
    group = parser.add_argument_group(
        "cwl-udss", "Steps in rootless containers, without Docker (see also `cwl-udss --help`)."
    )
    group.add_argument(
        "--udss",
        action="store_true",
        help="run each step that has a DockerRequirement in a sandbox made of its image",
    )
    add_options(group, driver=True, batch=True)
    group.add_argument(
        "--udss-resume",
        metavar="RUN",
        help="go on with a run whose steps are jobs: its name, or its directory; what has ended is "
        "not run again, what is running is waited for",
    )
    group.add_argument(
        "--udss-detach",
        action="store_true",
        help="leave the jobs running when interrupted, for --udss-resume",
    )
    return parser


def cwltool_version_text() -> str:
    """Return what `cwltool --version` prints: cwltool's line, and ours after it."""
    return f"{versionstring()} with cwl-udss {cwl_udss.__version__}"


def refusal(options: argparse.Namespace, parser: argparse.ArgumentParser) -> str | None:
    """Return why these options cannot go with `--udss`; None if they can."""
    for action in parser._actions:  # argparse has no public list of them
        reason = REFUSED_OPTIONS.get(action.dest)
        value = getattr(options, action.dest, None)
        if reason is None or value == parser.get_default(action.dest):
            continue
        # Of two options for one name (--rm-container, --leave-container) the one that was given.
        if action.const is None or action.const == value:
            return f"{action.option_strings[-1]} cannot be used with --udss: {reason}"
    return None


def _run_with_udss(arguments: list[str], options: argparse.Namespace) -> int:
    refused = refusal(options, extended_parser())
    if refused:
        print(f"cwltool: {refused}", file=sys.stderr)
        return USAGE_ERROR
    settings = load_settings(vars(options), os.environ, home_directory())
    batch = _batch_run(options, settings)
    leaves_outputs = options.move_outputs == "leave"
    # Left in this order, whatever happens: steps are stopped before their directories go.
    with contextlib.ExitStack() as stack:
        stack.enter_context(tracing(settings.trace))
        when = _when_to_pull(options, settings)
        steps = stack.enter_context(Steps(settings, os.environ, home_directory(), when))
        extend_cwltool()
        straighten_cwltool()
        use_late_loaders(offline=settings.offline)
        keep_schemas(os.environ, home_directory())
        temporary = functools.partial(temporary_directory, settings.scratch, os.environ)
        set_js_engine(SandboxedNode(steps.runtime, temporary))
        runtime_context = RuntimeContext(vars(options))
        # Where conversion has made mount points. cwltool's own choice of the first is random.
        runtime_context.docker_outdir = OUTPUT_DIRECTORY
        runtime_context.docker_stagedir = INPUT_DIRECTORY
        cache = None
        if options.cachedir:
            cache = stack.enter_context(open_cache(Path(options.cachedir).absolute()))
            runtime_context.cachedir = None  # cwltool's own is not wanted
        contents = _contents(cache, batch)
        if leaves_outputs:
            keep_left_outputs()
        places = choose_places(
            given_prefixes(extended_parser(), given_options(arguments, os.environ)),
            removes=options.rm_tmpdir,
            leaves_outputs=leaves_outputs,
            has_cache=cache is not None,
        )
        directories = stack.enter_context(contextlib.ExitStack())
        remote = stack.enter_context(
            remote_inputs(runtime_context, offline=settings.offline, contents=contents)
        )

        def prepare(context: RuntimeContext) -> None:
            note_since_start("load")
            if context.validate_only:
                return
            if settings.offline:
                steps.check_images()
            if batch is not None:
                stack.enter_context(batch.begun(keeps_work=not options.rm_tmpdir or leaves_outputs))
                context.tmpdir_prefix = context.tmp_outdir_prefix = f"{batch.directory.work}/"
                return
            scratch = local_directories(settings.scratch, os.environ) or [Path(options.outdir)]
            cache_work = None if cache is None else cache.work
            directories.enter_context(
                place_steps(places, context, scratch, steps.needed_bytes, cache_work)
            )

        executor = _executor(options, steps, batch, runtime_context)
        make_job = _make_job(steps, cache, batch, contents, executor)
        ended_by = stack.enter_context(_ending_signals())
        stack.callback(cwltool.main._terminate_processes)  # waits for ten seconds, and kills
        stack.callback(stop_host_steps)
        stack.callback(steps.stop)
        code = int(
            cwltool.main.main(
                arguments,
                versionfunc=version_text,
                executor=_prepared(executor, prepare, remote),
                loadingContext=_loading_context(options, steps, cache, make_job),
                runtimeContext=runtime_context,
            )
        )
        if batch is not None:
            batch.has_succeeded = code == 0
        return _EXIT_CODES[ended_by[0]] if ended_by else code


def _options_given(options: argparse.Namespace) -> list[str]:
    """Those of ours, but `--udss` itself."""
    names = {setting.option: setting.attribute for setting in SETTINGS}
    names |= {f"--udss-{name}": f"udss_{name}" for name in ("resume", "detach")}
    return [name for name, attribute in names.items() if getattr(options, attribute)]


def _documents(options: argparse.Namespace) -> list[str]:
    """The paths of what a person has written, as the command line has them."""
    paths = (options.workflow, *options.job_order[:1], options.overrides)
    return [path for path in paths if path and not path.startswith("-")]


def _prepared(
    executor: JobExecutor, prepare: Callable[[RuntimeContext], None], remote: RemoteInputs
) -> JobExecutor:
    """Have `prepare` called when main() has read all documents and set all of its context."""

    def execute(process: Process, job_order: Any, context: RuntimeContext, logger: Any) -> Any:
        try:
            prepare(context)
        except UdssError as error:
            raise WorkflowException(str(error)) from error
        remote.place(context)
        return executor(process, job_order, context, logger)

    return cast(JobExecutor, execute)  # which main() only calls


def load_document(steps: Steps, document: str, overrides: str | None, *, offline: bool) -> None:
    """Read a CWL document, a file or at a URL, with all that it names, for Steps.expected.

    Raises ImageError.
    """
    arguments = ["--quiet", "--validate", "--enable-ext", document]
    if overrides is not None:
        arguments[:0] = ["--overrides", overrides]
    options = extended_parser().parse_args(arguments)
    use_late_loaders(offline=offline)
    keep_schemas(os.environ, home_directory())
    logging.getLogger("cwltool").setLevel(logging.WARNING)  # before main() heeds --quiet
    tell_plainly([document])
    make_job = functools.partial(SandboxedJob, steps, None)
    try:
        code = cwltool.main.main(
            arguments,
            stdout=io.StringIO(),
            versionfunc=version_text,
            loadingContext=_loading_context(options, steps, None, make_job),
        )
    except Exception as error:
        raise ImageError(f"{document} cannot be read", plain_words(error, [document])) from error
    if code:
        raise ImageError(f"{document} cannot be read", "its mistakes are listed above")


def _loading_context(
    options: argparse.Namespace, steps: Steps, cache: StepCache | None, make_job: MakeJob
) -> LoadingContext:
    context = LoadingContext(vars(options))
    # Nothing between cwltool and the tool reads its command line or its mounts as text, so that no
    # character of a file's name needs to be refused.
    context.relax_path_checks = True

    def note(tool: SandboxedTool) -> None:
        try:
            request = tool.image_request(options.default_container)
        except UdssError as error:
            raise ValidationException(f"{tool.tool['id']}: {error}") from error
        steps.expect(request, tool.needed_bytes())
        if cache is not None and tool.updates_inputs:
            cache.disable(f"{tool.tool['id']} updates its inputs (InplaceUpdateRequirement)")

    context.construct_tool_object = functools.partial(make_tool, make_job, note)
    return context


def _when_to_pull(options: argparse.Namespace, settings: Settings) -> When:
    if settings.offline or not options.pull_image:
        return When.NEVER
    return When.ALWAYS if options.force_docker_pull else When.MISSING


def _batch_run(options: argparse.Namespace, settings: Settings) -> BatchRun | None:
    """Return the run of which the steps are jobs; None if they are none."""
    if options.validate:
        return None
    refuse_needless_options(options, settings)
    if settings.batch is None:
        return None
    from cwl_udss.engine.batch_run import BatchRun, plan_run  # noqa: PLC0415 - a 20th of the start

    return BatchRun(plan_run(options, settings), settings, os.environ)


def refuse_needless_options(options: argparse.Namespace, settings: Settings) -> None:
    """Raise SettingsError for an option that would be of no effect. What files and the environment
    say is for all runs, and may well be for others; but who wants a pilot never wants all steps on
    this machine."""
    given = [
        setting
        for setting in SETTINGS
        if setting.is_batch and getattr(options, setting.attribute) is not None
    ]
    if settings.batch is None:
        if settings.pilot and settings.origins["pilot"] != "--udss-pilot":
            raise SettingsError(
                f"a pilot, which {settings.origins['pilot']} asks for, is for steps that are jobs",
                "add --udss-batch",
            )
        names = [setting.option for setting in given]
        names += [
            f"--udss-{name}" for name in ("resume", "detach") if getattr(options, f"udss_{name}")
        ]
        for name in names:
            raise SettingsError(f"{name} is for steps that are jobs", "add --udss-batch")
    for setting in given:
        if setting.name.startswith("pilot_") and not settings.pilot:
            raise SettingsError(f"{setting.option} is for a pilot", "add --udss-pilot")
        if setting.name == "batch_group" and settings.pilot:
            raise SettingsError(
                f"{setting.option} is for jobs, and with --udss-pilot steps are none",
                "leave out one of the two",
            )


def _executor(
    options: argparse.Namespace,
    steps: Steps,
    batch: BatchRun | None,
    runtime_context: RuntimeContext,
) -> JobExecutor:
    # Only cwltool's own knows how to validate without running.
    if options.validate or not (options.parallel or batch):
        wait_for_running_steps(lambda: False)
        return SingleJobExecutor()

    def stop() -> None:
        if batch is not None:
            batch.stop()
        steps.stop()
        stop_host_steps()

    executor: ParallelExecutor
    available = available_resources(os.environ)
    if batch is not None:
        executor = BatchExecutor(batch.most_at_once, available.cores, stop)
    else:
        cores = options.parallel_max or available.cores
        executor = ParallelExecutor(Resources(cores=cores, ram=available.ram), stop)
    runtime_context.select_resources = executor.select_resources
    wait_for_running_steps(executor.are_steps_running)
    pace_scatters(executor.most_made)
    return executor


def _contents(cache: StepCache | None, batch: BatchRun | None) -> Contents | None:
    """Return what knows the checksums of inputs, if any are needed."""
    if cache is not None:
        return cache.contents
    return None if batch is None else Contents(None, batch.directory.work)


def _make_job(
    steps: Steps,
    cache: StepCache | None,
    batch: BatchRun | None,
    contents: Contents | None,
    executor: JobExecutor,
) -> MakeJob:
    """Return what makes a job of a tool: one that runs here, or one that runs on a node."""
    if batch is None or contents is None or not isinstance(executor, BatchExecutor):
        return functools.partial(SandboxedJob, steps, cache)
    from cwl_udss.engine.batch_job import Batch, BatchJob  # noqa: PLC0415 - as above

    shared = Batch(
        steps=batch.steps,
        contents=contents,
        settings=batch.step_settings,
        note_outputs=executor.made.add,
    )
    return functools.partial(BatchJob, steps, cache, shared)


@contextlib.contextmanager
def _ending_signals() -> Iterator[list[int]]:
    """Have these signals end this process, soon; give a list of those that have come."""
    received: list[int] = []
    signal.signal(signal.SIGTERM, functools.partial(_exit_on_signal, received))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else nohup(1)
        signal.signal(signal.SIGINT, functools.partial(_exit_on_signal, received))
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, functools.partial(_exit_on_signal, received))
    with ended_by_signals(_EXIT_CODES, "cwltool"):
        yield received


def _exit_on_signal(received: list[int], number: int, frame: FrameType | None) -> NoReturn:
    """End as after an error. The signal is noted, as schema-salad makes an error of its own of any
    exception on its way (SourceLine.__exit__)."""
    received.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(_EXIT_CODES[number])
