# SPDX-License-Identifier: Apache-2.0
"""Suites of conformance tests: where they are, how they are laid out, a copy to run them in."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cwltest.utils import load_and_validate_tests, shortname
from ruamel.yaml.error import YAMLError
from schema_salad.exceptions import SchemaSaladException

HOMES = {
    version: f"https://github.com/common-workflow-language/{repository}.git"
    for version, repository in (
        ("v1.0", "common-workflow-language"),
        ("v1.1", "cwl-v1.1"),
        ("v1.2", "cwl-v1.2"),
    )
}
# Of v1.0 the suite is in a folder of a repository; the others' repositories are the suites.
LAYOUTS = (
    "conformance_tests.yaml",
    "v1.0/conformance_test_v1.0.yaml",
    "conformance_test_v1.0.yaml",
    "containment_tests.yaml",
)


class SuiteError(Exception):
    """A suite that is not one, or cannot be had."""


@dataclass(frozen=True, kw_only=True)
class Test:
    """A test of a suite."""

    number: int
    """Its place in the suite, from 1."""
    name: str
    tags: tuple[str, ...]
    tool: Path


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A suite to be run."""

    path: Path
    """The file that lists the tests."""
    tests: tuple[Test, ...]


def find_suite(path: Path) -> Suite:
    """Return the suite in a checkout, or of a file of tests. Raises SuiteError."""
    candidates = [path] if path.is_file() else [path / layout for layout in LAYOUTS]
    for candidate in candidates:
        if candidate.is_file():
            try:
                entries, _ = load_and_validate_tests(str(candidate.resolve()))
            except (SchemaSaladException, YAMLError) as error:
                raise SuiteError(f"{candidate} is no suite of tests: {error}") from error
            tests = tuple(_test(number, entry) for number, entry in enumerate(entries, 1))
            return Suite(path=candidate, tests=tests)
    raise SuiteError(f"{path} holds no suite: there is none of {', '.join(LAYOUTS)}")


def _test(number: int, entry: dict[str, Any]) -> Test:
    """Older suites number some tests, and give others a label instead of a name."""
    return Test(
        number=number,
        name=str(entry.get("label") or shortname(str(entry.get("id", number)))),
        tags=tuple(entry.get("tags", ())),
        tool=Path(urlsplit(entry["tool"]).path),
    )


def copy_suite(suite: Suite, directory: Path) -> Suite:
    """Copy a suite to where its files belong to the user and may be changed: some tests say so of
    what they stage, and a shared checkout is read-only."""
    copied = directory / "suite"
    shutil.copytree(suite.path.parent, copied, ignore=shutil.ignore_patterns(".git"))
    for path in (copied, *copied.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)
    return find_suite(copied / suite.path.name)


def fetch_suite(version: str, directory: Path) -> Path:
    """Clone the suite of a version of CWL from its home. Raises SuiteError."""
    checkout = directory / f"suite-{version}"
    if not checkout.exists():
        making = checkout.with_suffix(".part")
        shutil.rmtree(making, ignore_errors=True)
        done = subprocess.run(
            ["git", "clone", "--quiet", "--depth", "1", HOMES[version], str(making)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SuiteError(
                f"the suite of CWL {version} cannot be fetched ({done.stderr.strip()}): "
                "name a checkout with --suite PATH"
            )
        making.rename(checkout)
    return checkout
