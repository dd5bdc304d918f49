# SPDX-License-Identifier: Apache-2.0
"""The two doors: `cwltool`, which is cwltool's own with `--udss` added, and `cwl-udss`.

What a command needs is imported when it runs, as some are started for every step of a workflow.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from cwl_udss.commands.images_arguments import add_images
from cwl_udss.commands.runs.arguments import add_runs
from cwl_udss.commands.shim import add_shim
from cwl_udss.engine.startup.pure import prefer_python_modules
from cwl_udss.engine.startup.start import given_options, quick_imports
from cwl_udss.errors import SettingsError, UdssError
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.machine.standard_streams import (
    open_standard_streams,
    print_names_as_they_are,
    whole_output,
)
from cwl_udss.machine.user_directories import home_directory
from cwl_udss.machine.waiting import ended_by_signals
from cwl_udss.sandbox import SIGNAL_OFFSET
from cwl_udss.settings.config import add_options, load_settings
from cwl_udss.settings.settings import Settings

_EXIT_FAILURE = 1
# As a shell reports a process that a signal has ended.
_EXIT_CODES = {
    int(number): SIGNAL_OFFSET + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
}


def cwltool() -> NoReturn:
    """Be the `cwltool` command."""
    arguments = sys.argv[1:]
    # Without it cwltool is left as it is. Nothing shorter can be meant: of --uds and the like there
    # are several, which argparse refuses.
    is_ours = "--udss" in given_options(arguments, os.environ)
    if is_ours:
        _begin()
    try:
        prefer_python_modules("cwltool")
        # cwltool may only be imported after the line above.
        with quick_imports() if is_ours else contextlib.nullcontext():
            from cwl_udss.engine import driver
    except UdssError as error:
        sys.exit(f"cwltool: {error}")
    if not is_ours:
        sys.exit(driver.run(arguments))
    with whole_output("cwltool"):
        sys.exit(driver.run(arguments))


def main() -> NoReturn:
    """Be the `cwl-udss` command."""
    _begin()
    print_names_as_they_are()
    with whole_output("cwl-udss"):
        sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run `cwl-udss` with these arguments. Returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("cwl_udss").setLevel(logging.INFO)
    logging.getLogger("cwl_udss.steps.shared").setLevel(logging.WARNING)  # only of use in long logs
    command: Callable[[argparse.Namespace, Settings], int] = options.command
    if getattr(options, "job", False):  # a batch system ends it
        return _run_command(command, options)
    # By what is raised, so that no sandbox and no temporary directory is left.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda number, _frame: sys.exit(_EXIT_CODES[number]))
    with ended_by_signals(_EXIT_CODES, "cwl-udss"):
        return _run_command(command, options)


def _begin() -> None:
    """Have what every process is to have, and whoever has started this one may not have given it:
    three standard streams, and word of the ends of its children."""
    open_standard_streams()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored nobody can wait: wait(2)


def _run_command(
    command: Callable[[argparse.Namespace, Settings], int], options: argparse.Namespace
) -> int:
    try:
        return command(options, load_settings(vars(options), os.environ, home_directory()))
    except UdssError as error:
        print(f"cwl-udss: {error}", file=sys.stderr)
        return _EXIT_FAILURE
    except BrokenPipeError:  # whoever read our output has had enough
        return _EXIT_FAILURE
    except OSError as error:
        print(f"cwl-udss: {system_words(error)}", file=sys.stderr)
        return _EXIT_FAILURE
    except KeyboardInterrupt:
        print("cwl-udss: interrupted", file=sys.stderr)
        return _EXIT_CODES[signal.SIGINT]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cwl-udss",
        description="Docker images in rootless sandboxes: no Docker, no daemon, no root.",
        epilog="Workflows run with: cwltool --udss WORKFLOW JOB (see `cwltool --help`).",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    add_images(commands).set_defaults(command=_images)
    add_shim(commands)
    _add_step(commands)
    add_runs(commands)
    _add_clean(commands)
    _add_doctor(commands)
    return parser


class _Version(argparse.Action):
    """argparse's own wants the text before anybody has asked for it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from cwl_udss.engine.startup.version import version_text

        print(version_text())
        parser.exit()


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="run a command in an image",
        usage="cwl-udss run [OPTIONS] IMAGE [--] [COMMAND ...]",
        description="Run a command in a sandbox made of an image, pulling it if need be. The "
        "current directory is the only place of this machine that the command sees, and the only "
        "one besides /tmp (its own, empty) where it can write. There is no network. Without a "
        "COMMAND the image's own runs. The exit code is the command's; 127 if the image has no "
        "such program.",
        epilog="example: cwl-udss run quay.io/biocontainers/samtools:1.16.1--h6899075_1 -- "
        "samtools flagstat sample.bam",
    )
    parser.add_argument(
        "image",
        metavar="IMAGE",
        help="as Docker names it; or a path (with a / in it) to a root filesystem or image file",
    )
    parser.add_argument(
        "arguments", metavar="COMMAND", nargs=argparse.REMAINDER, help="with its arguments"
    )
    add_options(parser)
    parser.set_defaults(command=_run)


def _add_step(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "step",
        help="run a step of a batch run again, by hand",
        description="Run a step as a job of it was to run it, and leave what it makes beside its "
        "other files, in a new directory. The exit code is the tool's.",
    )
    parser.add_argument(
        "directories",
        metavar="STEP",
        nargs="+",
        type=Path,
        help="a step's directory, as the run names it when it fails",
    )
    parser.add_argument(
        "--job", action="store_true", help="leave the result for the driver, as its jobs do"
    )
    parser.set_defaults(command=_step)


def _add_clean(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "clean",
        help="remove what runs that were killed have left behind",
        description="Remove what dead runs have left in the store and in this node's scratch "
        "directory, and only that. What another machine left is watched for a minute first.",
    )
    add_options(parser)
    parser.set_defaults(command=_clean)


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "doctor",
        help="check that workflows can run on this machine",
        description="Try what a run needs and say what to do about what is missing. The exit code "
        "is 0 if all is well, otherwise 1.",
    )
    parser.add_argument(
        "--json", action="store_true", help="print what is found as JSON, for monitoring"
    )
    parser.add_argument(
        "--mend",
        action="store_true",
        help="put the `cwltool` command of cwl-udss back where an upgrade has replaced it",
    )
    parser.add_argument(
        "--containment",
        action="store_true",
        help="run some hundred tests of what a step can see and do on this machine, and print a "
        "verdict (a minute; needs the image debian:stable-slim, in the store or from its registry)",
    )
    parser.add_argument(
        "--runtime",
        metavar="NAME",
        action="append",
        help="only try this runtime (again and again, or `all`); with --containment, run the tests "
        "in each, whatever it does not keep",
    )
    parser.add_argument(
        "--batch",
        metavar="SYSTEM",
        dest="udss_batch",
        help="have a tiny job of the batch system, `pbs` or `slurm`, say what a node sees",
    )
    add_options(parser, batch=True)
    parser.set_defaults(command=_doctor)


def _run(options: argparse.Namespace, settings: Settings) -> int:
    from cwl_udss.commands.run import run_command

    command = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
    return run_command(options.image, tuple(command), settings, os.environ, home_directory())


def _images(options: argparse.Namespace, settings: Settings) -> int:
    from cwl_udss.commands.images import run_images

    return run_images(options, settings)


def _step(options: argparse.Namespace, settings: Settings) -> int:
    from cwl_udss.steps.runner import run_by_hand, run_submitted

    directories = [path.absolute() for path in options.directories]
    if options.job:
        return run_submitted(directories)
    return max(run_by_hand(directory, os.environ) for directory in directories)


def _clean(options: argparse.Namespace, settings: Settings) -> int:
    from cwl_udss.doors.cleaning import clean as clean_containers
    from cwl_udss.files.scratch import clean
    from cwl_udss.filesystems.leases import LEASE_SECONDS
    from cwl_udss.settings.opening import open_store

    in_store = open_store(settings).clean(LEASE_SECONDS)
    on_node = (*clean(settings.scratch, os.environ), *clean_containers(settings))
    for path in (*in_store, *on_node):
        print(f"removed {path}")
    return 0


def _doctor(options: argparse.Namespace, settings: Settings) -> int:
    if options.json and (options.udss_batch or options.containment or options.runtime):
        raise SettingsError(
            "--json is for what doctor finds here", "leave out --batch, --containment, --runtime"
        )
    if options.mend:
        from cwl_udss.engine.startup.installation import write_cwltool_command

        print(f"wrote {write_cwltool_command()}")
    if options.udss_batch:
        from cwl_udss.commands.doctor import print_node_examination

        # Its job is not to stay in the queue.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        return print_node_examination(settings, os.environ)
    if options.containment:
        from cwl_udss.commands.containment import print_verdicts

        return print_verdicts(settings, os.environ, home_directory(), options.runtime)
    if options.runtime:
        from cwl_udss.commands.doctor import print_runtimes

        return print_runtimes(settings, os.environ, options.runtime)
    from cwl_udss.commands.doctor import print_examination

    return print_examination(settings, os.environ, home_directory(), as_json=options.json)
