# SPDX-License-Identifier: Apache-2.0
"""The driver: a run of cwltool, as `cwltool` is typed, with `--udss` as one more container engine.

cli.py imports it when a compiled cwltool has been dealt with.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cwltool.main
from cwl_utils.sandboxjs import set_js_engine
from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.executors import JobExecutor, SingleJobExecutor
from cwltool.process import Process

from cwl_udss.engine.documents import loading_context
from cwl_udss.engine.ending import EXIT_CODES, INTERRUPTED, ending_signals
from cwl_udss.engine.failures import plain_words, tell_plainly
from cwl_udss.engine.inputs.remote import RemoteInputs, remote_inputs
from cwl_udss.engine.jobs.job import SandboxedJob
from cwl_udss.engine.jobs.recording import Recorder
from cwl_udss.engine.jobs.tool import MakeJob, extend_cwltool, stop_host_steps
from cwl_udss.engine.options import (
    cwltool_version_text,
    documents_of,
    extended_parser,
    options_of_ours,
    refusal,
    refuse_needless_options,
    when_to_pull,
    with_strict_options,
)
from cwl_udss.engine.outputs.relocation import tell_of_moves
from cwl_udss.engine.places import choose_places, given_prefixes, keep_outputs, place_steps
from cwl_udss.engine.recorded import RunRecord
from cwl_udss.engine.replacements.scatter import pace_scatters, straighten_cwltool
from cwl_udss.engine.replacements.workflow import wait_for_running_steps
from cwl_udss.engine.shown import RunShown
from cwl_udss.engine.startup.loaders import use_late_loaders
from cwl_udss.engine.startup.schema_cache import keep_schemas
from cwl_udss.engine.startup.start import given_options
from cwl_udss.engine.startup.version import version_text
from cwl_udss.errors import UdssError
from cwl_udss.executor import BatchExecutor, ParallelExecutor
from cwl_udss.files.scratch import local_directories, temporary_directory
from cwl_udss.machine.resources import Resources, available_resources
from cwl_udss.machine.user_directories import home_directory
from cwl_udss.report.trace import note_since_start, tracing
from cwl_udss.sandbox import INPUT_DIRECTORY, OUTPUT_DIRECTORY
from cwl_udss.settings.config import load_settings
from cwl_udss.settings.settings import Settings
from cwl_udss.steps.cache import StepCache, open_cache
from cwl_udss.steps.key import Contents
from cwl_udss.steps.shared import Steps
from cwl_udss.surroundings.javascript import SandboxedNode

if TYPE_CHECKING:
    from cwl_udss.engine.batch_run import BatchRun

USAGE_ERROR = 2


def run(arguments: list[str]) -> int:
    """Run cwltool with these arguments. Returns the exit code."""
    given = given_options(arguments, os.environ)
    # main() looks the function up in its own module; there is no other way to add an option.
    cwltool.main.arg_parser = extended_parser  # type: ignore[attr-defined]
    documents: list[str] = []
    try:
        options, _ = extended_parser().parse_known_args(given)
        if not options.udss:
            for name in options_of_ours(options):
                print(f"cwltool: {name} is for runs with --udss: add that", file=sys.stderr)
                return USAGE_ERROR
            return int(cwltool.main.run(arguments, versionfunc=cwltool_version_text))
        documents += documents_of(options)
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


def _run_with_udss(arguments: list[str], options: argparse.Namespace) -> int:
    refused = refusal(options, extended_parser())
    if refused:
        print(f"cwltool: {refused}", file=sys.stderr)
        return USAGE_ERROR
    given = load_settings(vars(options), os.environ, home_directory())
    settings = with_strict_options(options, given)
    batch, recorder = _batch_run(options, settings), Recorder()
    leaves_outputs = options.move_outputs == "leave"
    # Left in this order, whatever happens: steps are stopped before their directories go.
    with contextlib.ExitStack() as stack:
        stack.enter_context(tracing(settings.trace_events))
        record = RunRecord(recorder, settings, ("cwltool", *arguments), options)
        shown = RunShown(settings, options, recorder)
        stack.enter_context(record.written())
        when = when_to_pull(options)
        steps = stack.enter_context(Steps(settings, os.environ, home_directory(), when))
        _prepare_cwltool(settings, steps)
        runtime_context = _runtime_context(options)
        cache = _cache(runtime_context, stack)
        contents = _contents(cache, batch)
        if leaves_outputs or batch is not None:  # which removes them by itself
            keep_outputs()
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
                tell_of_moves(batch.note_moves)
                context.tmpdir_prefix = context.tmp_outdir_prefix = f"{batch.directory.work}/"
                return
            scratch = local_directories(settings.scratch, os.environ) or [Path(options.outdir)]
            cache_work = None if cache is None else cache.work
            directories.enter_context(
                place_steps(places, context, scratch, steps.needed_bytes, cache_work)
            )

        stop = functools.partial(_stop, recorder, batch, steps)
        executor = _executor(options, batch, runtime_context, stop)
        make_job = _make_job(steps, cache, batch, contents, executor)
        ended_by = stack.enter_context(ending_signals())
        stack.callback(cwltool.main._terminate_processes)  # waits for ten seconds, and kills
        stack.callback(stop_host_steps)
        stack.callback(steps.stop)
        stack.callback(recorder.stop)
        code = int(
            cwltool.main.main(
                arguments,
                versionfunc=version_text,
                executor=_prepared(
                    executor, prepare, remote=remote, record=record, shown=shown, batch=batch
                ),
                loadingContext=loading_context(options, steps, cache, make_job, recorder.follow),
                runtimeContext=runtime_context,
            )
        )
        if batch is not None:
            batch.has_succeeded = code == 0
        record.exit_code = EXIT_CODES[ended_by[0]] if ended_by else code
        return record.exit_code


def _prepare_cwltool(settings: Settings, steps: Steps) -> None:
    extend_cwltool()
    straighten_cwltool()
    use_late_loaders(offline=settings.offline)
    keep_schemas(os.environ, home_directory())
    temporary = functools.partial(temporary_directory, settings.scratch, os.environ)
    set_js_engine(SandboxedNode(steps.runtime, temporary))


def _runtime_context(options: argparse.Namespace) -> RuntimeContext:
    context = RuntimeContext(vars(options))
    # Where conversion has made mount points. cwltool's own choice of the first is random.
    context.docker_outdir = OUTPUT_DIRECTORY
    context.docker_stagedir = INPUT_DIRECTORY
    return context


def _cache(context: RuntimeContext, stack: contextlib.ExitStack) -> StepCache | None:
    """Open the cache of steps that was asked for, in place of cwltool's own."""
    directory, context.cachedir = context.cachedir, None
    return stack.enter_context(open_cache(Path(directory).absolute())) if directory else None


def _stop(recorder: Recorder, batch: BatchRun | None, steps: Steps) -> None:
    recorder.stop()
    if batch is not None:
        batch.stop()
    steps.stop()
    stop_host_steps()


def _prepared(
    executor: JobExecutor,
    prepare: Callable[[RuntimeContext], None],
    *,
    remote: RemoteInputs,
    record: RunRecord,
    shown: RunShown,
    batch: BatchRun | None,
) -> JobExecutor:
    """Have `prepare` called when main() has read all documents and set all of its context."""

    def execute(process: Process, job_order: Any, context: RuntimeContext, logger: Any) -> Any:
        try:
            prepare(context)
        except UdssError as error:
            raise WorkflowException(str(error)) from error
        remote.place(context)
        if context.validate_only:
            return executor(process, job_order, context, logger)
        run_directory = None if batch is None else batch.own_directory
        record.begin(process, job_order, run_directory, context.secret_store)
        outputs, status = shown.run(
            lambda: executor(process, job_order, context, logger), record.nodes, batch
        )
        record.outputs = outputs or {}
        return outputs, status

    return cast(JobExecutor, execute)  # which main() only calls


def _batch_run(options: argparse.Namespace, settings: Settings) -> BatchRun | None:
    """Return the run of which the steps are jobs; None if they are none."""
    if options.validate:
        return None
    refuse_needless_options(options, settings)
    if settings.batch is None:
        return None
    from cwl_udss.engine.batch_run import BatchRun, plan_run  # noqa: PLC0415 - a 20th of the start

    return BatchRun(plan_run(options, settings), settings, os.environ)


def _executor(
    options: argparse.Namespace,
    batch: BatchRun | None,
    runtime_context: RuntimeContext,
    stop: Callable[[], None],
) -> JobExecutor:
    """Return what runs the jobs; `stop` ends those that run, and lets no other start."""
    # Only cwltool's own knows how to validate without running.
    if options.validate or not (options.parallel or batch):
        wait_for_running_steps(lambda: False)
        return SingleJobExecutor()

    executor: ParallelExecutor
    available = available_resources(os.environ)
    if batch is not None:
        executor = BatchExecutor(batch.most_at_once, available.cores, stop, batch.made)
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
    from cwl_udss.engine.jobs.batch_job import Batch, BatchJob  # noqa: PLC0415 - as above

    shared = Batch(
        steps=batch.steps,
        contents=contents,
        settings=batch.step_settings,
        note_outputs=batch.made.add,
    )
    return functools.partial(BatchJob, steps, cache, shared)
