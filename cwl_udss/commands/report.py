# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss report`: the page of a run whose steps were jobs, also while it goes on."""

from __future__ import annotations

import argparse
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
    parser.add_argument("run", metavar="RUN", type=Path, help="its directory, or its name there")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        default=Path("report.html"),
        help="where to write it (default: ./report.html)",
    )
    return parser


def write_report(run: Path, runs: Path, output: Path) -> int:
    """Write what the directory of a run has, which may be below `runs`. Raises UdssError."""
    # The command line of each other command is read without them.
    from cwl_udss.batch.record import read_run  # noqa: PLC0415
    from cwl_udss.report.output import check_page, write_page  # noqa: PLC0415

    check_page(output)
    directory = run if run.is_dir() else runs / run
    write_page(read_run(directory.absolute()), output)
    print(f"wrote {output}")
    return 0
