# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss report`: what a run does, or has done, as a page."""

from __future__ import annotations

from pathlib import Path

from cwl_udss.batch.record import read_run
from cwl_udss.report.output import check_page, write_page


def write_report(run: Path, output: Path) -> int:
    """Write what the directory of a run has. Raises UdssError."""
    check_page(output)
    write_page(read_run(run), output)
    print(f"wrote {output}")
    return 0
