# SPDX-License-Identifier: Apache-2.0
"""The command lines of what tells of a run whose steps are jobs."""

from __future__ import annotations

import argparse
from pathlib import Path

from cwl_udss.settings.settings import Settings


def add_runs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    _add_status(commands)
    _add_report(commands)


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "status",
        help="say where a batch run stands",
        description="Say how many jobs of each step of a run have ended, run, or wait, from what "
        "is in its directory; from any machine that sees that, also when its driver is no more: "
        "then with what to type to go on.",
    )
    _add_run(parser)
    parser.set_defaults(command=_status)


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "report",
        help="write what a batch run has done as a page",
        description="Write a page that tells what a run has done whose steps are jobs, from what "
        "is in its directory: when it has ended, however that was, or while it goes on.",
    )
    _add_run(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        default=Path("report.html"),
        help="where to write it (default: ./report.html)",
    )
    parser.set_defaults(command=_report)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN", type=Path, help="its directory, or its name below --udss-runs"
    )
    parser.add_argument("--udss-runs", metavar="DIR", help="where runs are")


def _status(options: argparse.Namespace, settings: Settings) -> int:
    # The command line of each other command is read without it.
    from cwl_udss.commands.runs.status import print_status  # noqa: PLC0415

    return print_status(_directory(options.run, settings))


def _report(options: argparse.Namespace, settings: Settings) -> int:
    from cwl_udss.commands.runs.report import write_report  # noqa: PLC0415 - as above

    return write_report(_directory(options.run, settings), options.output)


def _directory(run: Path, settings: Settings) -> Path:
    return (run if run.is_dir() else settings.runs / run).absolute()
