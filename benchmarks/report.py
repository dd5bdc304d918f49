# SPDX-License-Identifier: Apache-2.0
"""What the page of a run of 10,000 steps costs: to write, and to open in a browser."""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measure import Finding, print_findings

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests/report"))

from browsers import browser
from reports import large_run

from cwl_udss.report.page.page import make_page

STEPS = 10_000
REPETITIONS = 5


def main() -> list[Finding]:
    """Print both."""
    run = large_run(STEPS)
    with tempfile.TemporaryDirectory() as directory:
        page = Path(directory) / "report.html"
        began = time.monotonic()
        page.write_bytes(make_page(run, page.parent))
        written = time.monotonic() - began
        size = page.stat().st_size / 1e6
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        times = [opened(page) for _ in range(REPETITIONS)]
    table, drawn = (statistics.median(values) for values in zip(*times, strict=True))
    print(f"\n{memory:.0f} MB of memory with the run itself")
    return [
        Finding(f"a report of {STEPS:,} steps: seconds to write", written, 5),
        Finding("its size (MB)", size, 4),
        Finding("seconds until its table is there, of chromium", table, 1),
        Finding("seconds until all is drawn", drawn, 2.5),
    ]


def opened(page: Path) -> tuple[float, float]:
    """Return the seconds from navigation until the table is there, and until all is."""
    with browser() as driver:
        driver.get(page.as_uri())
        while driver.execute_script("return !document.body.dataset.drawn"):
            time.sleep(0.05)
        marks = driver.execute_script(
            "return ['table', 'drawn'].map("
            "(name) => performance.getEntriesByName(name)[0].startTime / 1000)"
        )
    return marks[0], marks[1]


if __name__ == "__main__":
    print_findings(main())
