# SPDX-License-Identifier: Apache-2.0
"""The conformance tooling: it reads suites, runs runners, and says how it went."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from results import mend_junit, read_junit
from ruamel.yaml import YAML
from suites import Test as SuiteTest

from cwl_udss.commands.containment import matches
from cwl_udss.commands.limited_tests import LIMITED_TESTS, limit_of
from cwl_udss.runtimes.limits import PROOT_LIMITS, SIGNALS
from cwl_udss.runtimes.proot.landlock import limits_of

CONFORMANCE = Path(__file__).parent.parent / "conformance"
CONTAINMENT = CONFORMANCE / "containment"
AREAS = {"writes", "sight", "identity", "life", "environment", "expressions"}


def containment_tests() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = YAML(typ="safe").load(CONTAINMENT / "containment_tests.yaml")
    return found


def run(
    environment: dict[str, str], directory: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, CONFORMANCE / "run", *arguments],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_which_containment_tests_cannot_pass_is_said_by_limits() -> None:
    names = {test["id"] for test in containment_tests()}
    assert {name for tests in LIMITED_TESTS.values() for name in tests} <= names
    for test in ("host_processes_cannot_be_signalled", "expressions_see_no_processes"):
        assert limit_of(test, limits_of(PROOT_LIMITS, 5)) == SIGNALS.name
        assert limit_of(test, limits_of(PROOT_LIMITS, 6)) == ""


def test_every_containment_test_says_what_it_checks_and_can_fail() -> None:
    tests = containment_tests()
    controls = YAML(typ="safe").load(CONTAINMENT / "controls.yaml")
    names = [test["id"] for test in tests]
    assert len(names) == len(set(names))
    assert set(names) == set(controls)
    for test in tests:
        assert set(test["tags"]) <= AREAS
        assert test["doc"]
        assert (CONTAINMENT / test["tool"]).exists()
        assert "should_fail" in test or test["output"]


def test_a_run_writes_what_it_has_shown(environment: dict[str, str], tmp_path: Path) -> None:
    names = "outdir_is_writable,usr_is_not_writable,expressions_are_evaluated"
    done = run(environment, tmp_path, "--suite", str(CONTAINMENT), "--only", names)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as written: 3 of 3 passed" in done.stdout
    summary = json.loads((tmp_path / "conformance-results/summary.json").read_text())
    assert summary["runner"] == "cwltool --udss"
    assert "bubblewrap" in summary["runtime"]
    assert summary["passes"]["as written"]["counts"]["passed"] == 3
    assert (tmp_path / "conformance-results/as-written-main.xml").exists()
    assert (tmp_path / "conformance-results/as-written-main-badges/all.json").exists()


def test_a_runner_without_containers_fails(environment: dict[str, str], tmp_path: Path) -> None:
    names = "outdir_is_writable,hostname_is_not_the_hosts,background_processes_end"
    done = run(
        environment,
        tmp_path,
        *("--suite", str(CONTAINMENT), "--runner", "cwltool --no-container", "--only", names),
    )
    assert done.returncode == 1
    assert "failed: hostname_is_not_the_hosts" in done.stdout
    assert "failed: background_processes_end: process" in done.stdout
    assert "as written: 1 of 3 passed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--suite", "nowhere"), "nowhere holds no suite"),
        (("--suite", str(CONTAINMENT), "--runner", "no-runner"), "there is no runner 'no-runner'"),
        (("--suite", str(CONTAINMENT), "--only", "none"), "the suite has no test none"),
        (("--suite", __file__), "is no suite of tests"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    environment: dict[str, str], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run(environment, tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "conformance-results").exists()


def test_a_test_that_should_have_failed_is_a_failure_in_junit_too(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    cases = '<testcase time="1"/><testcase time="2"><failure>so</failure></testcase>'
    counted = f'<testsuite failures="1">{cases}</testsuite>'
    junit.write_text(f'<testsuites failures="1">{counted}</testsuites>')
    mend_junit(junit, {0, 1})
    tests = [SuiteTest(number=n, name=f"t{n}", tags=(), tool=tmp_path) for n in (1, 2)]
    assert [(r.outcome, r.message) for r in read_junit(junit, tests)] == [
        ("failed", "it should have failed"),
        ("failed", "so"),
    ]
    assert junit.read_text().count('failures="2"') == 2


@pytest.mark.parametrize(
    ("expected", "actual", "is_match"),
    [
        ({"a": "x"}, {"a": "x", "b": 1}, True),
        ({"a": None}, {}, True),
        ({"a": {"class": "File"}}, {"a": {"class": "File", "location": "y"}}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": "x"}, {"a": "y"}, False),
        ({"a": {"b": 1}}, {"a": 1}, False),
    ],
)
def test_outputs_are_compared(expected: Any, actual: Any, is_match: bool) -> None:
    assert matches(expected, actual) is is_match


def test_doctor_gives_a_verdict(run_command: Any) -> None:
    done = run_command("cwl-udss", "doctor", "--containment", timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("containment of cwl-udss")
    assert lines[-1].startswith("contained (")
    assert len([line for line in lines if line.startswith("ok ")]) == len(AREAS)
