# SPDX-License-Identifier: Apache-2.0
"""The driver: a run of cwltool, as `cwltool` is typed, with `--udss` as one more container engine.

cli.py imports it when a compiled cwltool has been dealt with.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, cast

import cwltool.main
from cwl_utils.sandboxjs import set_js_engine
from cwltool.argparser import arg_parser
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.executors import JobExecutor, SingleJobExecutor
from cwltool.process import Process
from cwltool.utils import versionstring

import cwl_udss
from cwl_udss.config import add_options, load_settings
from cwl_udss.errors import UdssError
from cwl_udss.executor import ParallelExecutor
from cwl_udss.images.pull import When
from cwl_udss.javascript import SandboxedNode
from cwl_udss.resources import Resources, available_resources
from cwl_udss.sandbox import INPUT_DIRECTORY, OUTPUT_DIRECTORY
from cwl_udss.step_cache import open_cache
from cwl_udss.steps import Steps
from cwl_udss.tool import extend_cwltool, make_tool, stop_host_steps
from cwl_udss.workflow import wait_for_running_steps

USAGE_ERROR = 2
INTERRUPTED = 130  # as a shell reports a process that SIGINT has ended

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
    # main() looks the function up in its own module; there is no other way to add an option.
    cwltool.main.arg_parser = extended_parser  # type: ignore[attr-defined]
    given = os.environ.get("CWLTOOL_OPTIONS", "").split() + arguments
    options, _ = extended_parser().parse_known_args(given)
    if not options.udss:
        return int(cwltool.main.run(arguments, versionfunc=version_text))
    try:
        return _run_with_udss(arguments, options)
    except UdssError as error:
        print(f"cwltool --udss: {error}", file=sys.stderr)
        return 1


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
    add_options(group)
    return parser


def version_text() -> str:
    """Return what `--version` prints: cwltool's line, and ours after it."""
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
    steps = Steps(
        load_settings(vars(options), os.environ, Path.home()),
        os.environ,
        Path.home(),
        _when_to_pull(options),
    )
    extend_cwltool()
    set_js_engine(SandboxedNode(steps.runtime))
    loading_context = LoadingContext(vars(options))
    # Nothing between cwltool and the tool reads its command line or its mounts as text, so that no
    # character of a file's name needs to be refused.
    loading_context.relax_path_checks = True
    runtime_context = RuntimeContext(vars(options))
    # Where conversion has made mount points. cwltool's own choice of the first is a random name.
    runtime_context.docker_outdir = OUTPUT_DIRECTORY
    runtime_context.docker_stagedir = INPUT_DIRECTORY
    executor = _executor(options, steps, runtime_context)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    with contextlib.ExitStack() as stack:
        cache = None
        if options.cachedir:
            cache = stack.enter_context(open_cache(Path(options.cachedir).absolute()))
            runtime_context.cachedir = None  # cwltool's own is not wanted
            if options.rm_tmpdir:
                executor = _working_in(cache.work, executor)
        loading_context.construct_tool_object = functools.partial(make_tool, steps, cache)
        stack.callback(cwltool.main._terminate_processes)
        stack.callback(steps.stop)
        try:
            return int(
                cwltool.main.main(
                    arguments,
                    versionfunc=version_text,
                    executor=executor,
                    loadingContext=loading_context,
                    runtimeContext=runtime_context,
                )
            )
        except KeyboardInterrupt:
            print("cwltool: interrupted", file=sys.stderr)
            return INTERRUPTED


def _working_in(directory: Path, executor: JobExecutor) -> JobExecutor:
    """Have output directories made in `directory`. cwltool's main() sets their place late, and
    where nobody would remove what a killed driver leaves."""

    def execute(process: Process, job_order: Any, context: RuntimeContext, logger: Any) -> Any:
        context.tmp_outdir_prefix = f"{directory}/"
        return executor(process, job_order, context, logger)

    return cast(JobExecutor, execute)  # which main() only calls


def _when_to_pull(options: argparse.Namespace) -> When:
    if options.force_docker_pull:
        return When.ALWAYS
    return When.MISSING if options.pull_image else When.NEVER


def _executor(
    options: argparse.Namespace, steps: Steps, runtime_context: RuntimeContext
) -> JobExecutor:
    # Only cwltool's own knows how to validate without running.
    if not options.parallel or options.validate:
        return SingleJobExecutor()

    def stop() -> None:
        steps.stop()
        stop_host_steps()

    available = available_resources(os.environ)
    cores = options.parallel_max or available.cores
    executor = ParallelExecutor(Resources(cores=cores, ram=available.ram), stop)
    runtime_context.select_resources = executor.select_resources
    wait_for_running_steps(executor.are_steps_running)
    return executor


def _exit_on_signal(number: int, frame: FrameType | None) -> NoReturn:
    """End as after an error, with cwltool's exit code for a signal: its number."""
    sys.exit(number)
