# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss report` and `status`: what a run does, or has done, whose steps are jobs."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path


def add_report(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the command."""
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
    return parser


def add_status(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the command."""
    parser = commands.add_parser(
        "status",
        help="say where a batch run stands",
        description="Say how many jobs of each step of a run have ended, run, or wait, from what "
        "is in its directory; from any machine that sees that, also when its driver is no more: "
        "then with what to type to go on.",
    )
    _add_run(parser)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN", type=Path, help="its directory, or its name below --udss-runs"
    )
    parser.add_argument("--udss-runs", metavar="DIR", help="where runs are")


def print_status(run: Path, runs: Path) -> int:
    """Say where a run stands. Raises UdssError."""
    from cwl_udss.batch.record import read_run  # noqa: PLC0415 - as below
    from cwl_udss.batch.run_directory import living_drivers  # noqa: PLC0415
    from cwl_udss.report.overview import overview  # noqa: PLC0415

    directory = _directory(run, runs)
    width = shutil.get_terminal_size().columns
    for line in overview(read_run(directory), living_drivers(directory), width):
        print(line)
    return 0


def write_report(run: Path, runs: Path, output: Path) -> int:
    """Write what the directory of a run has, which may be below `runs`. Raises UdssError."""
    # The command line of each other command is read without them.
    from cwl_udss.batch.record import read_run  # noqa: PLC0415
    from cwl_udss.report.output import check_page, write_page  # noqa: PLC0415

    check_page(output)
    write_page(read_run(_directory(run, runs)), output)
    print(f"wrote {output}")
    return 0


def _directory(run: Path, runs: Path) -> Path:
    return (run if run.is_dir() else runs / run).absolute()
