# SPDX-License-Identifier: Apache-2.0
"""Runs the benchmarks, all or those that are named, and says at the end which bars hold."""

from __future__ import annotations

import sys
from importlib import import_module

from measure import print_findings

NAMES = (
    "start",
    "steps",
    "scatter",
    "driver_time",
    "sandbox",
    "accounting",
    "image",
    "second_use",
    "batch",
    "report",
    "doors",
    "pipeline",
)


def main(names: list[str]) -> None:
    """Print all tables."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        sys.exit(f"there is no benchmark {unknown[0]}: {', '.join(NAMES)}")
    findings = [finding for name in names for finding in import_module(name).main()]
    print_findings(findings)


if __name__ == "__main__":
    main(sys.argv[1:] or list(NAMES))
