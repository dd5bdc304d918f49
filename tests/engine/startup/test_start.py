# SPDX-License-Identifier: Apache-2.0
"""A start imports what the run needs, and what comes later is as if all were imported."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Union

import pytest
from commands import Command

from cwl_udss.engine.startup import start
from cwl_udss.engine.startup.start import SELDOM_USED, given_options, quick_imports

# What gets images, and what cwltool needs for other things than to run a step.
FOR_MISSING_IMAGES = {
    *(
        "cwl_udss.images.convert",
        "cwl_udss.images.sources.registry.client",
        "cwl_udss.images.dockerfiles.build",
    ),
    *("isal", "rich.progress", "filelock"),
}
FOR_JOBS = {"cwl_udss.batch", "cwl_udss.engine.batch_run", "cwl_udss.engine.jobs.batch_job"}
SELDOM = {"pydot", "prov.model", "dateutil", "asyncio", "galaxy", "networkx"}
HEAVY = {"cwltool", "schema_salad", "requests", "rich", "psutil"}


def imported(text: str) -> set[str]:
    """What the report of `python -X importtime` names."""
    lines = [line for line in text.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def test_our_own_command_imports_what_it_is_asked_for(run_command: Command) -> None:
    done = run_command("cwl-udss", "--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert "cwl_udss.cli" in imported(done.stderr)
    assert imported(done.stderr) & (FOR_MISSING_IMAGES | SELDOM | HEAVY) == set()


@pytest.mark.parametrize("validate", [False, True])
def test_a_run_imports_nothing_for_jobs_or_for_images_that_are_missing(
    run_command: Command, tmp_path: Path, validate: bool
) -> None:
    tool = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "hints": {"DockerRequirement": {"dockerPull": "busybox:1.36"}},
        "baseCommand": "true",
        "inputs": {},
        "outputs": {},
    }
    (tmp_path / "tool.cwl").write_text(json.dumps(tool))
    assert run_command("cwl-udss", "images", "pull", "busybox:1.36").returncode == 0
    arguments = ("cwltool", "--udss", *(["--validate"] if validate else []), "tool.cwl")
    run_command(*arguments)  # fills the caches
    done = run_command(*arguments, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0, done.stderr
    assert "cwltool.main" in imported(done.stderr)
    assert imported(done.stderr) & (FOR_MISSING_IMAGES | FOR_JOBS | SELDOM) == set()


def test_without_udss_cwltool_imports_what_it_does_by_itself(run_command: Command) -> None:
    ours = imported(run_command("cwltool", "--version", PYTHONPROFILEIMPORTTIME="1").stderr)
    original = ("-c", "import cwltool.main; cwltool.main.run()")
    theirs = run_command("python", *original, "--version", PYTHONPROFILEIMPORTTIME="1")
    assert imported(theirs.stderr) - ours == set()


@pytest.mark.parametrize("abbreviation", ["--u", "--ud", "--uds"])
def test_the_option_cannot_be_abbreviated(run_command: Command, abbreviation: str) -> None:
    """cli.py looks for the whole word."""
    done = run_command("cwltool", abbreviation, "tool.cwl")
    assert done.returncode == 2
    assert "ambiguous option" in done.stderr


def test_options_are_those_of_the_variable_too() -> None:
    assert given_options(["a"], {}) == ["a"]
    assert given_options(["a"], {"CWLTOOL_OPTIONS": "--udss  --x"}) == ["--udss", "--x", "a"]


@pytest.mark.parametrize("module", SELDOM_USED)
def test_the_installed_release_has_what_is_stood_in_for(module: str) -> None:
    """If this fails with a new release, cwltool starts as it should, but slower."""
    found = import_module(module)
    assert all(hasattr(found, name) for name in SELDOM_USED[module])
    assert not (SELDOM_USED[module] and hasattr(found, "__path__"))


OUTPUTS = ["--print-rdf", "--print-dot", "--print-deps", "--print-pre", "--pack"]


@pytest.mark.parametrize("option", OUTPUTS)
def test_what_was_put_off_is_there_when_it_is_used(
    run_command: Command, tmp_path: Path, option: str
) -> None:
    workflow = Path(__file__).parents[3] / "benchmarks/workflows/cat-many.cwl"
    original = ("-c", "import sys, cwltool.main; sys.exit(cwltool.main.run())")
    theirs = run_command("python", *original, option, workflow)
    ours = run_command("cwltool", "--udss", option, workflow)
    assert (ours.returncode, theirs.returncode) == (0, 0)
    assert sorted(ours.stdout.split()) == sorted(theirs.stdout.split())
    assert len(ours.stdout) > 100


def test_provenance_is_recorded(run_command: Command, tmp_path: Path) -> None:
    workflow = Path(__file__).parents[3] / "benchmarks/workflows/cat-many.cwl"
    (tmp_path / "input").write_text("content")
    job = {"numbers": [1], "file": {"class": "File", "path": "input"}}
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = run_command("cwltool", "--udss", "--provenance", "record", workflow, "job.json")
    assert done.returncode == 0, done.stderr
    record = (tmp_path / "record/metadata/provenance/primary.cwlprov.provn").read_text()
    assert "prov:SoftwareAgent" in record
    assert "docker.io/library/debian:stable-slim" in record


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that is seldom used."""
    (tmp_path / "seldom.py").write_text(
        "class Known(dict): pass\n"
        "TABLE = {'key': 'value'}\n"
        "def known(number): return number + 1\n"
        "unknown = 'unknown'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(start, "SELDOM_USED", {"seldom": frozenset(("Known", "TABLE", "known"))})
    yield "seldom"
    sys.modules.pop("seldom", None)


def test_names_are_given_out_without_their_module(package: str) -> None:
    with quick_imports():
        from seldom import TABLE, Known, known

        annotations = (Known | None, None | Known, list[Known], Union[Known, int])  # noqa: UP007
    assert package not in sys.modules
    assert len(annotations) == 4
    assert known(1) == 2
    assert package in sys.modules
    assert TABLE["key"] == "value"
    assert known.__call__(2) == 3
    assert Known.fromkeys([1]) == {1: None}
    assert isinstance(Known(), Known)
    assert not isinstance({}, Known)

    class Derived(Known):  # type: ignore[misc, valid-type]
        pass

    assert Derived.__mro__[1] is sys.modules[package].Known


def test_a_module_is_loaded_when_it_is_used(package: str) -> None:
    with quick_imports():
        import seldom
    assert package not in sys.modules
    assert seldom.unknown == "unknown"
    assert seldom.Known is sys.modules[package].Known
    with pytest.raises(AttributeError):
        seldom.no_such_name  # noqa: B018


def test_a_name_that_is_not_known_loads_the_module(package: str) -> None:
    with quick_imports():
        from seldom import Known, unknown

        assert unknown == "unknown"
    assert isinstance(Known(), sys.modules[package].Known)


def test_garbage_is_collected_afterwards(package: str) -> None:
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_of_an_import_leaves_all_as_it_was(package: str) -> None:
    with pytest.raises(ImportError), quick_imports():
        raise ImportError
    assert package not in sys.modules
    assert gc.isenabled()


def test_modules_that_are_there_already_stay(package: str) -> None:
    there: Any = import_module(package)
    with quick_imports():
        import seldom
    assert seldom is there


def test_a_start_parses_only_what_the_person_has_written(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """If this fails a new release of cwltool parses something else at its start."""
    tool = {"cwlVersion": "v1.2", "class": "CommandLineTool", "inputs": {}, "outputs": {}}
    (tmp_path / "tool.cwl").write_text(json.dumps({**tool, "baseCommand": "true"}))
    script = """
import ruamel.yaml.main
from cwl_udss.engine import driver
original = ruamel.yaml.main.YAML.load_all
loads = []
def load_all(self, *arguments):
    loads.append(arguments)
    return original(self, *arguments)
ruamel.yaml.main.YAML.load_all = load_all
original_load = ruamel.yaml.main.YAML.load
def load(self, *arguments):
    loads.append(arguments)
    return original_load(self, *arguments)
ruamel.yaml.main.YAML.load = load
code = driver.run(["--udss", "--validate", "tool.cwl"])
print("parsed:", len(loads))
"""
    for expected in ("several", "parsed: 1"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={**environment, "XDG_CACHE_HOME": str(tmp_path / "caches")},
            capture_output=True,
            text=True,
            check=True,
        )
        assert (expected in done.stdout) == (expected != "several"), done.stdout
