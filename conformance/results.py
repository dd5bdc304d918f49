# SPDX-License-Identifier: Apache-2.0
"""What a run of a suite showed: read from cwltest's JUnit XML, for people and as JSON."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table
from suites import Test

OUTCOMES = ("passed", "failed", "unsupported", "not run")


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """How one test ended, and why if not well."""

    name: str
    tags: tuple[str, ...]
    outcome: str
    seconds: float
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """All tests of a suite, run in one way."""

    name: str
    seconds: float
    results: tuple[TestResult, ...]

    @property
    def counts(self) -> Counter[str]:
        """How many ended how."""
        return Counter(result.outcome for result in self.results)


def mend_junit(path: Path, failed: Collection[int]) -> None:
    """Mark the test cases at these places as failed: cwltest (2.7) forgets it of tests that should
    have failed and did not."""
    document = ElementTree.parse(path)  # noqa: S314 - written by cwltest, on this machine
    forgotten = 0
    for place, case in enumerate(document.iter("testcase")):
        if place in failed and case.find("failure") is None:
            ElementTree.SubElement(case, "failure", type="failure").text = "it should have failed"
            forgotten += 1
    for element in (document.getroot(), *document.iter("testsuite")):
        element.set("failures", str(int(element.get("failures", "0")) + forgotten))
    document.write(path, encoding="utf-8", xml_declaration=True)


def read_junit(path: Path, tests: Sequence[Test]) -> list[TestResult]:
    """Read what cwltest wrote of these tests, which it ran in this order."""
    # Written by cwltest, on this machine.
    cases = ElementTree.parse(path).iter("testcase")  # noqa: S314
    return [_result(test, case) for test, case in zip(tests, cases, strict=True)]


def _result(test: Test, case: ElementTree.Element) -> TestResult:
    outcome, message = "passed", ""
    for kind, meaning in (("skipped", "unsupported"), ("failure", "failed")):
        problem = case.find(kind)
        if problem is not None:
            outcome, message = meaning, problem.text or problem.get("message") or ""
    return TestResult(
        name=test.name,
        tags=test.tags,
        outcome=outcome,
        seconds=float(case.get("time") or 0),
        message=message,
    )


def print_results(passes: Sequence[Pass]) -> None:
    """Print a table by tag for each pass, then what did not pass, then the sums."""
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    for one in passes:
        table = Table(title=one.name, box=None, pad_edge=False, title_justify="left")
        table.add_column("tag")
        for outcome in OUTCOMES:
            table.add_column(outcome, justify="right")
        tags = sorted({tag for result in one.results for tag in result.tags})
        for tag in [*tags, "all"]:
            counts = Counter(r.outcome for r in one.results if tag == "all" or tag in r.tags)
            table.add_row(tag, *(str(counts[outcome] or "") for outcome in OUTCOMES))
        console.print(table)
    for one in passes:
        for result in one.results:
            if result.outcome != "passed":
                lines = result.message.strip().splitlines() or [""]
                console.print(
                    f"{one.name}: {result.outcome}: {result.name}: {lines[-1]}", markup=False
                )
        total = f"{one.counts['passed']} of {len(one.results)} passed"
        console.print(f"{one.name}: {total} in {one.seconds / 60:.1f} minutes", markup=False)


def write_summary(path: Path, facts: dict[str, object], passes: Sequence[Pass]) -> None:
    """Write everything as JSON."""
    summary = {
        **facts,
        "passes": {
            one.name: {
                "counts": {outcome: one.counts[outcome] for outcome in OUTCOMES},
                "seconds": round(one.seconds, 1),
                "tests": [asdict(result) for result in one.results],
            }
            for one in passes
        },
    }
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
