# SPDX-License-Identifier: Apache-2.0
"""Tools without an image in a sandbox of this machine: `--udss-runtime landlock`."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from commands import Command
from needs import need

from cwl_udss.runtimes.limits import METADATA, NAMES
from cwl_udss.runtimes.proot.landlock import landlock_abi

OPTIONS = ("--udss-runtime=landlock", f"--udss-accept={METADATA.name},{NAMES.name}")
Run = Callable[..., "CompletedProcess[str]"]


def plain(text: str) -> str:
    """A log without colours and line breaks."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


pytestmark = pytest.mark.skipif(not landlock_abi(), reason="this kernel has no Landlock")


@pytest.fixture
def run(run_command: Command, tmp_path: Path) -> Run:
    """Run a shell script as a tool that is given a file and a directory."""
    (tmp_path / "given.txt").write_text("given\n")
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/part").write_text("part\n")
    (tmp_path / "secret").write_text("secret\n")
    order = {
        "file": {"class": "File", "path": "given.txt"},
        "directory": {"class": "Directory", "path": "directory"},
    }
    (tmp_path / "order.json").write_text(json.dumps(order))

    def run(script: str, *options: str, **changes: Any) -> CompletedProcess[str]:
        tool = {
            "cwlVersion": "v1.2",
            "class": "CommandLineTool",
            "baseCommand": ["sh", "-c", script],
            "inputs": {
                "file": {"type": "File", "inputBinding": {"position": 1}},
                "directory": {"type": "Directory", "inputBinding": {"position": 2}},
            },
            "outputs": {"all": {"type": "File[]", "outputBinding": {"glob": "*.txt"}}},
            **changes,
        }
        (tmp_path / "tool.cwl").write_text(json.dumps(tool))
        arguments = ("--udss", *OPTIONS, "--outdir", "out", *options, "tool.cwl", "order.json")
        return run_command("cwltool", *arguments)

    return run


def test_a_tool_works_and_is_told_of_no_missing_sandbox(run: Run, tmp_path: Path) -> None:
    done = run('cat "$0" "$1/part" >both.txt; echo "$HOME" "$PWD" >places.txt')
    assert done.returncode == 0, done.stderr
    assert "in no sandbox" not in plain(done.stderr)
    assert "sandboxes are made by Landlock" in plain(done.stderr)
    assert (tmp_path / "out/both.txt").read_text() == "given\npart\n"
    home, directory = (tmp_path / "out/places.txt").read_text().split()
    assert home == directory


def test_what_it_was_not_given_it_cannot_read_nor_deliver(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    script = f'cat {secret} >read.txt; ln -s {secret} link.txt; ln -s "$0" good.txt; ls {tmp_path}'
    done = run(script, successCodes=[0, 1, 2])
    assert done.returncode == 0, done.stderr
    names = {output["basename"] for output in json.loads(done.stdout)["all"]}
    assert names == {"read.txt", "good.txt"}
    assert (tmp_path / "out/read.txt").read_text() == ""
    assert (tmp_path / "out/good.txt").read_text() == "given\n"
    assert "link.txt: a link out of the output directory" in plain(done.stderr)


def test_glob_and_cwl_output_json_name_nothing_else(run: Run, tmp_path: Path) -> None:
    everything = {"all": {"type": "File[]", "outputBinding": {"glob": f"{tmp_path}/secret"}}}
    assert "secret" not in run("true", outputs=everything).stdout
    named = {"all": [{"class": "File", "path": str(tmp_path / "secret")}]}
    done = run(f"echo '{json.dumps(named)}' >cwl.output.json")
    assert done.returncode != 0
    assert "secret" not in done.stdout


def test_inputs_stay_as_they_are(run: Run, tmp_path: Path) -> None:
    done = run('echo x >>"$0" || echo x >"$1/part" || echo x >"$1/new" || echo refused >said.txt')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/said.txt").read_text() == "refused\n"
    assert (tmp_path / "given.txt").read_text() == "given\n"
    assert os.listdir(tmp_path / "directory") == ["part"]


def test_what_is_staged_into_the_output_directory(run: Run, tmp_path: Path) -> None:
    listing = [
        {"entryname": "linked.txt", "entry": "$(inputs.file)"},
        {"entryname": "copied.txt", "entry": "$(inputs.file)", "writable": True},
        {"entryname": "made.txt", "entry": "made"},
    ]
    done = run(
        "echo more >>copied.txt; (echo more >>linked.txt) || cat linked.txt made.txt",
        requirements={"InitialWorkDirRequirement": {"listing": listing}},
        stdout="said.txt",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/said.txt").read_text() == "given\nmade"
    assert (tmp_path / "out/copied.txt").read_text() == "given\nmore\n"
    assert (tmp_path / "given.txt").read_text() == "given\n"


def test_streams_expressions_and_failures(run: Run, tmp_path: Path) -> None:
    done = run(
        "cat; echo failed >&2; exit 3",
        requirements={"InlineJavascriptRequirement": {}},
        stdin="$(inputs.file.path)",
        stdout="said.txt",
        stderr="$('err' + 'ors.txt')",
        successCodes=[3],
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/said.txt").read_text() == "given\n"
    assert (tmp_path / "out/errors.txt").read_text() == "failed\n"


def test_a_program_that_is_not_there(run: Run) -> None:
    done = run("", baseCommand="no-such-program")
    assert done.returncode != 0
    assert "'no-such-program' cannot be executed in this machine" in plain(done.stderr)


def test_a_time_limit(run: Run) -> None:
    done = run("sleep 980", requirements={"ToolTimeLimit": {"timelimit": 1}})
    assert done.returncode != 0
    assert "time limit" in plain(done.stderr)


def test_a_step_is_shown_what_another_was_shown(run_command: Command, tmp_path: Path) -> None:
    """A directory that a step has made, with a link to what it was given itself."""
    (tmp_path / "given.txt").write_text("given\n")
    first = {
        "class": "CommandLineTool",
        "baseCommand": ["sh", "-c", 'mkdir made && ln -s "$0" made/link'],
        "inputs": {"file": {"type": "File", "inputBinding": {"position": 1}}},
        "outputs": {"made": {"type": "Directory", "outputBinding": {"glob": "made"}}},
    }
    second = {
        "class": "CommandLineTool",
        "baseCommand": ["sh", "-c", 'cat "$0/link"'],
        "inputs": {"made": {"type": "Directory", "inputBinding": {"position": 1}}},
        "stdout": "said.txt",
        "outputs": {"said": "stdout"},
    }
    workflow = {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "inputs": {"file": "File"},
        "outputs": {"said": {"type": "File", "outputSource": "second/said"}},
        "steps": {
            "first": {"in": {"file": "file"}, "out": ["made"], "run": first},
            "second": {"in": {"made": "first/made"}, "out": ["said"], "run": second},
        },
    }
    (tmp_path / "workflow.cwl").write_text(json.dumps(workflow))
    done = run_command("cwltool", "--udss", *OPTIONS, "workflow.cwl", "--file", "given.txt")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "said.txt").read_text() == "given\n"


def test_a_tool_with_an_image_is_refused(run: Run) -> None:
    done = run("true", hints={"DockerRequirement": {"dockerPull": "busybox:1.36"}})
    assert done.returncode != 0
    assert (
        "it needs the image busybox:1.36, and the runtime `landlock` shows none: "
        "leave --udss-runtime out, or name another"
    ) in plain(done.stderr)


def test_what_a_tool_may_do_must_be_accepted_here_too(run_command: Command, run: Run) -> None:
    run("true")
    done = run_command("cwltool", "--udss", "--udss-runtime=landlock", "tool.cwl", "order.json")
    assert done.returncode != 0
    assert "type --udss-accept metadata-writable --udss-accept names-seen" in plain(done.stderr)


def test_software_that_a_site_keeps_elsewhere(run: Run, tmp_path: Path) -> None:
    software = tmp_path / "software"
    software.mkdir()
    (software / "data").write_text("data\n")
    script = f"cat {software}/data >out.txt"
    assert run(script).returncode != 0
    assert run(script, f"--udss-readable={software}").returncode == 0
    assert (tmp_path / "out/out.txt").read_text() == "data\n"


def test_packages_that_a_site_has(run: Run, tmp_path: Path) -> None:
    """SoftwareRequirement, by a script of cwltool's that starts the tool."""
    if importlib.util.find_spec("galaxy") is None:
        need("needs galaxy-tool-util")
    package = tmp_path / "packages/greeting/1.0"
    (package / "bin").mkdir(parents=True)
    (package / "bin/greet").write_text("#!/bin/sh\necho hello\n")
    (package / "bin/greet").chmod(0o755)
    (package / "env.sh").write_text(f"export PATH={package}/bin:$PATH\n")
    resolvers = {"type": "galaxy_packages", "base_path": str(tmp_path / "packages")}
    (tmp_path / "resolvers.yml").write_text(json.dumps([resolvers]))
    done = run(
        "greet; cat; cat /proc/1/environ || echo refused",
        "--beta-dependency-resolvers-configuration",
        "resolvers.yml",
        f"--udss-readable={tmp_path / 'packages'}",
        hints={"SoftwareRequirement": {"packages": {"greeting": {"version": ["1.0"]}}}},
        stdin="$(inputs.file.path)",
        stdout="said.txt",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/said.txt").read_text() == "hello\ngiven\nrefused\n"
