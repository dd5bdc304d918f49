# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss doctor --containment`: the containment suite, on the machine where it is typed.

The suite is conformance/containment of the source; here it is run without cwltest.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

import cwl_udss
from cwl_udss.commands.limited_tests import limit_of
from cwl_udss.commands.runtimes import ALL, parse_names
from cwl_udss.containment_suite.surroundings import problems, surroundings
from cwl_udss.errors import SandboxError
from cwl_udss.files.scratch import temporary_directory
from cwl_udss.images.pull import Images
from cwl_udss.machine.resources import available_resources
from cwl_udss.runtimes.choosing.choice import describe_choice, weaknesses
from cwl_udss.runtimes.choosing.table import RUNTIMES
from cwl_udss.sandbox import Runtime
from cwl_udss.settings.opening import open_store, runtime_finder
from cwl_udss.settings.setting import join_list
from cwl_udss.settings.settings import Settings

IMAGE = "docker.io/library/debian:stable-slim"
_TESTS = "containment_tests.yaml"
_TIMEOUT_SECONDS = 120
_CWLTOOL = (sys.executable, "-c", "from cwl_udss.cli import cwltool; cwltool()")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one test ended; without a problem it has passed."""

    name: str
    area: str
    problem: str = ""


def print_verdicts(
    settings: Settings, environment: Mapping[str, str], home: Path, names: Sequence[str] | None
) -> int:
    """Run all tests in each of the runtimes that are named, or else in the one that a run has, and
    print what they show. Returns the exit code: 0 if all have passed.

    Raises UdssError if they cannot be run.
    """
    if not names:
        return _print_verdict(settings, environment, home)
    codes = []
    for name in parse_names(names):
        kind = RUNTIMES[name]
        accept = tuple(limit.name for limit in weaknesses(kind.limits))
        try:
            if not kind.is_automatic:
                raise SandboxError("it shows no image, and the tests are of tools in images")
            chosen = replace(settings, runtime=name, accept=accept)
            codes.append(_print_verdict(chosen, environment, home))
        except SandboxError as error:
            print(f"{name}: {error}")
            codes.append(0 if ALL in names else 1)
    return max(codes)


def _print_verdict(settings: Settings, environment: Mapping[str, str], home: Path) -> int:
    runtime = runtime_finder(settings, environment).find()
    Images(open_store(settings), environment, home).get(IMAGE)
    start = time.monotonic()
    outcomes = _run_all(settings, environment)
    print(
        f"containment of cwl-udss {cwl_udss.__version__} by {describe_choice(runtime)} on "
        f"{platform.node()}, Linux {platform.release()}, as uid {os.getuid()}"
    )
    print(*_lines(outcomes, runtime), sep="\n")
    failures = [outcome for outcome in outcomes if _is_failure(outcome, runtime)]
    limited = sum(bool(outcome.problem) for outcome in outcomes) - len(failures)
    verdict = f"{len(failures)} of {len(outcomes)} tests failed" if failures else "contained"
    verdict += f", but for its limits in {limited}" if limited else ""
    print(f"{verdict} ({len(outcomes)} tests in {time.monotonic() - start:.0f} s)")
    return 1 if failures else 0


def _is_failure(outcome: Outcome, runtime: Runtime) -> bool:
    return bool(outcome.problem) and not limit_of(outcome.name, runtime.limits)


def _lines(outcomes: Sequence[Outcome], runtime: Runtime) -> Iterator[str]:
    for area in dict.fromkeys(outcome.area for outcome in outcomes):
        there = [outcome for outcome in outcomes if outcome.area == area]
        passed = sum(not outcome.problem for outcome in there)
        state = "FAIL" if any(_is_failure(outcome, runtime) for outcome in there) else "ok"
        state = "note" if state == "ok" and passed < len(there) else state
        yield f"{state:4}  {area}: {passed} of {len(there)}"
    for outcome in outcomes:
        limit = limit_of(outcome.name, runtime.limits)
        if outcome.problem and limit:
            yield f"note  {outcome.name}: by its limit {limit}"
        elif outcome.problem:
            yield f"FAIL  {outcome.name}: {outcome.problem}"


def matches(expected: Any, actual: Any) -> bool:
    """Say whether an output has all that a test expects of it, and perhaps more."""
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(
            matches(value, actual.get(key)) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(actual, list)
            and len(expected) == len(actual)
            and all(map(matches, expected, actual))
        )
    return bool(expected == actual)


def _run_all(settings: Settings, environment: Mapping[str, str]) -> list[Outcome]:
    variables = {**environment, "CWL_UDSS_STORE": str(settings.store)}
    variables["CWL_UDSS_RUNTIME"] = settings.runtime
    variables["CWL_UDSS_ACCEPT"] = join_list(settings.accept)
    variables["CWL_UDSS_REQUIRED"] = join_list(settings.required)
    if settings.bwrap:
        variables["CWL_UDSS_BWRAP"] = settings.bwrap
    if settings.scratch:
        variables["CWL_UDSS_SCRATCH"] = str(settings.scratch)
    with (
        temporary_directory(settings.scratch, environment) as directory,
        as_file(files("cwl_udss.containment_suite")) as installed,
    ):
        suite = directory / "suite"
        shutil.copytree(installed, suite)
        tests = YAML(typ="safe").load((suite / _TESTS).read_text(encoding="utf-8"))
        with (
            surroundings(suite, variables) as found,
            ThreadPoolExecutor(available_resources(environment).cores) as pool,
        ):
            outcomes = list(pool.map(lambda test: _run(test, suite, found.environment), tests))
            told = problems(found)
    return [
        Outcome(name=o.name, area=o.area, problem=o.problem or told.get(o.name, ""))
        for o in outcomes
    ]


def _run(test: Mapping[str, Any], suite: Path, environment: Mapping[str, str]) -> Outcome:
    name, area = str(test["id"]), str(test["tags"][0])
    with tempfile.TemporaryDirectory(dir=suite.parent) as outdir:
        try:
            done = subprocess.run(
                [*_CWLTOOL, "--udss", "--quiet", "--outdir", outdir, test["tool"], test["job"]],
                cwd=suite,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome(name=name, area=area, problem=f"no end after {_TIMEOUT_SECONDS} s")
    return Outcome(name=name, area=area, problem=_problem(test, done))


def _problem(test: Mapping[str, Any], done: subprocess.CompletedProcess[str]) -> str:
    if test.get("should_fail"):
        return "" if done.returncode else "it should have failed"
    if done.returncode:
        last = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return last[-1]
    output = json.loads(done.stdout)
    if matches(test["output"], output):
        return ""
    return f"expected {test['output']}, got {output}"
