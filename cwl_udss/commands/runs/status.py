# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss status`: where a run stands."""

from __future__ import annotations

import shutil
from pathlib import Path

from cwl_udss.batch.record import read_run
from cwl_udss.batch.run_directory import living_drivers
from cwl_udss.report.overview import overview


def print_status(run: Path) -> int:
    """Say how many jobs of each step have ended, run, or wait. Raises UdssError."""
    width = shutil.get_terminal_size().columns
    for line in overview(read_run(run), living_drivers(run), width):
        print(line)
    return 0
