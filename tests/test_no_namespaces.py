# SPDX-License-Identifier: Apache-2.0
"""Runs on a machine that has no user namespaces: by PRoot, for who accepts what it cannot keep."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from machines import without_namespaces
from needs import need

from cwl_udss.runtimes.limits import METADATA

IMAGE = "docker.io/library/busybox:1.36"
ACCEPT = f"--udss-accept={METADATA.name}"
TOOL = f"""
cwlVersion: v1.2
class: CommandLineTool
requirements:
  DockerRequirement: {{dockerPull: {IMAGE}}}
  InlineJavascriptRequirement: {{}}
  InitialWorkDirRequirement:
    listing:
      - {{entryname: given, entry: $(inputs.file)}}
      - {{entryname: made, entry: text}}
      - {{entryname: copy, entry: $(inputs.file), writable: true}}
baseCommand: [sh, -c]
arguments:
  - "cat given made; echo more >>copy; cat copy; echo x >given || echo refused; echo $0"
  - valueFrom: ${{ return inputs.file.basename.toUpperCase(); }}
inputs: {{file: File}}
stdout: said
outputs:
  said:
    type: string
    outputBinding: {{glob: said, loadContents: true, outputEval: "$(self[0].contents)"}}
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(environment: dict[str, str], registry: str, tmp_path: Path) -> Run:
    """Run a command of ours on such a machine."""
    if shutil.which("proot") is None:
        need("needs the Debian package proot")

    work = tmp_path / "work"  # not around the store
    work.mkdir()

    def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*without_namespaces(), *command],
            env={**environment, "CWL_UDSS_STORE": str(tmp_path / "store"), **variables},
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_person_is_told_what_to_type(run: Run) -> None:
    done = run("cwl-udss", "run", IMAGE, "true")
    assert done.returncode != 0
    assert "max_user_namespaces" in done.stderr
    assert f"type --udss-accept {METADATA.name}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("format", ["directory", "squashfs"])
def test_a_workflows_tool_with_expressions(run: Run, tmp_path: Path, format: str) -> None:
    (tmp_path / "work/tool.cwl").write_text(TOOL)
    (tmp_path / "work/file").write_text("content\n")
    done = run("cwltool", "--udss", ACCEPT, "tool.cwl", "--file=file", CWL_UDSS_FORMAT=format)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["said"]
    assert said == "content\ntextcontent\nmore\nrefused\nCOPY\n"
    assert (tmp_path / "work/file").read_text() == "content\n"
    assert f"({METADATA.name})" in done.stderr  # the log names it, once
    assert done.stderr.count("sandboxes are made by PRoot") == 1


def test_exit_codes_and_what_is_written(run: Run, tmp_path: Path) -> None:
    done = run("cwl-udss", "run", ACCEPT, IMAGE, "sh", "-c", "echo x >left; exit 3")
    assert done.returncode == 3, done.stderr
    assert (tmp_path / "work/left").read_text() == "x\n"


def test_a_store_in_a_directory_that_may_be_written_to_is_refused(run: Run, tmp_path: Path) -> None:
    command = ("cwl-udss", "run", ACCEPT, IMAGE, "true")
    done = run(*command, CWL_UDSS_STORE=str(tmp_path / "work/store"))
    assert done.returncode == 1
    assert "is to be read only, in a directory that may be written to" in done.stderr


def test_building_an_image_is_refused_in_a_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "work/build.cwl").write_text(
        "cwlVersion: v1.2\nclass: CommandLineTool\n"
        "requirements:\n  DockerRequirement:\n"
        f"    dockerImageId: built\n    dockerFile: |\n      FROM {IMAGE}\n      RUN true\n"
        "baseCommand: 'true'\ninputs: []\noutputs: []\n"
    )
    done = run("cwltool", "--udss", ACCEPT, "build.cwl")
    assert done.returncode != 0
    assert "building an image needs user namespaces and bubblewrap" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_says_what_works_and_what_to_ask_for(run: Run) -> None:
    done = run("cwl-udss", "doctor")
    assert "sysctl user.max_user_namespaces" in done.stdout
    (line,) = (line for line in done.stdout.splitlines() if "proot  " in line)
    assert METADATA.name in line
    assert f"type --udss-accept {METADATA.name}" in done.stdout
    accepted = run("cwl-udss", "doctor", ACCEPT)
    assert accepted.returncode == 0, accepted.stdout


def test_a_step_is_as_contained_as_its_limits_say(run: Run) -> None:
    done = run("cwl-udss", "doctor", "--containment", "--runtime", "proot,landlock")
    assert done.returncode == 1  # as one of them was named, and is not for tools in images
    *_, verdict, landlock = done.stdout.splitlines()
    assert verdict.startswith("contained, but for its limits in "), done.stdout
    assert landlock.startswith("landlock: it shows no image")
