# SPDX-License-Identifier: Apache-2.0
"""What sandboxes do not have yet is refused in a sentence, and never had on the host instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import Command

IMAGE = {"class": "DockerRequirement", "dockerPull": "busybox:1.36"}
NAMESPACES = {"cwltool": "http://commonwl.org/cwltool#"}
# The host has no such file; a job whose launcher is not there fails.
TOOL: dict[str, Any] = {
    "cwlVersion": "v1.2",
    "$namespaces": NAMESPACES,
    "class": "CommandLineTool",
    "inputs": {"processes": "int?"},
    "baseCommand": ["sh", "-c", "ls /bin/busybox; pwd"],
    "stdout": "out.txt",
    "outputs": {"out": "stdout"},
}
IN_THE_SANDBOX = "/bin/busybox\n/var/spool/cwl\n"
REFUSED = "MPI programs cannot run in sandboxes yet"
PLACES = [
    pytest.param((), id="here"),
    pytest.param(("--parallel",), id="parallel"),
    pytest.param(
        (
            "--udss-batch=local",
            "--udss-pilot",
            "--udss-batch-cores=1",
            "--udss-batch-memory=1G",
            "--udss-batch-walltime=60",
        ),
        id="pilot",
    ),
]


def mpi(processes: Any = 2) -> dict[str, Any]:
    return {"class": "cwltool:MPIRequirement", "processes": processes}


def cuda(**fields: Any) -> dict[str, Any]:
    versions = {"cudaVersionMin": "11.0", "cudaComputeCapability": "3.0"}
    return {"class": "cwltool:CUDARequirement", **versions, **fields}


@pytest.fixture
def run(run_command: Command, tmp_path: Path) -> Any:
    """Run such a tool; return the exit code, the log and the output."""

    def run_tool(
        *options: str,
        job: dict[str, Any] | None = None,
        process: dict[str, Any] | None = None,
        **fields: Any,
    ) -> tuple[int, str, str]:
        (tmp_path / "tool.cwl").write_text(json.dumps({**TOOL, **fields}))
        if process is not None:
            (tmp_path / "main.cwl").write_text(json.dumps(process))
        (tmp_path / "job.json").write_text(json.dumps(job or {}))
        document = "tool.cwl" if process is None else "main.cwl"
        command = ("--udss", "--disable-color", "--enable-ext", *options, document, "job.json")
        done = run_command("cwltool", *command)
        out = tmp_path / "out.txt"
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr, out.read_text() if out.exists() else ""

    return run_tool


@pytest.mark.parametrize("kind", ["requirements", "hints"])
def test_a_tool_that_needs_mpi_is_refused_whether_its_image_is_required_or_hinted(
    run: Any, kind: str
) -> None:
    fields = {"requirements": [mpi()], "hints": []}
    fields[kind] = [*fields[kind], IMAGE]
    code, log, out = run(**fields)
    assert (code, out) == (1, "")
    assert [line for line in log.splitlines() if REFUSED in line and "ERROR" in line]


@pytest.mark.parametrize("kind", ["requirements", "hints"])
def test_a_hint_of_mpi_is_left_out_in_the_image(run: Any, kind: str) -> None:
    fields = {"hints": [mpi()], "requirements": []}
    fields[kind] = [*fields[kind], IMAGE]
    code, log, out = run(**fields)
    assert (code, out) == (0, IN_THE_SANDBOX), log
    assert "MPIRequirement is only a hint" in log


@pytest.mark.parametrize("processes", [0, "$(0)", "$(inputs.processes)"])
def test_no_processes_are_no_mpi(run: Any, processes: Any) -> None:
    requirements = [mpi(processes), {"class": "InlineJavascriptRequirement"}]
    code, log, out = run(requirements=requirements, hints=[IMAGE], job={"processes": 0})
    assert (code, out) == (0, IN_THE_SANDBOX), log
    code, log, _ = run(
        requirements=[mpi("$(inputs.processes)")], hints=[IMAGE], job={"processes": 1}
    )
    assert code == 1
    assert REFUSED in log
    code, log, _ = run(requirements=[mpi("$(inputs.processes)")], hints=[IMAGE], job={})
    assert code == 1
    assert "no number" in log


def test_the_image_for_tools_that_name_none(run: Any) -> None:
    code, log, out = run("--default-container", "busybox:1.36", requirements=[mpi()])
    assert (code, out) == (1, "")
    assert REFUSED in log


def test_without_any_image_it_is_cwltools_affair(run: Any, tmp_path: Path) -> None:
    (tmp_path / "mpi.yml").write_text("{runner: env, nproc_flag: -u}")
    code, log, _ = run("--mpi-config-file", "mpi.yml", requirements=[mpi()])
    assert code == 0, log
    assert "it runs on this host, in no sandbox" in log


@pytest.mark.parametrize("inherited", ["requirements", "hints"])
@pytest.mark.parametrize("options", PLACES)
def test_what_a_workflow_says_of_all_its_steps_and_each_of_a_scatter(
    run: Any, options: tuple[str, ...], inherited: str
) -> None:
    workflow = {
        "cwlVersion": "v1.2",
        "$namespaces": NAMESPACES,
        "class": "Workflow",
        "requirements": [{"class": "ScatterFeatureRequirement"}],
        "hints": [],
        "inputs": {"processes": "int[]"},
        "steps": {
            "step": {
                "run": "tool.cwl",
                "scatter": "processes",
                "in": {"processes": "processes"},
                "out": ["out"],
            }
        },
        "outputs": {"out": {"type": "File[]", "outputSource": "step/out"}},
    }
    workflow[inherited] = [*workflow[inherited], mpi()]  # type: ignore[misc]
    job = {"processes": [1, 2]}
    code, log, out = run(
        *options, "--on-error", "continue", process=workflow, job=job, hints=[IMAGE]
    )
    if inherited == "hints":
        assert (code, out) == (0, IN_THE_SANDBOX), log
    else:
        assert (code, out) == (1, "")
        assert log.count(REFUSED) == 2


@pytest.mark.parametrize("options", PLACES)
@pytest.mark.parametrize("kind", ["requirements", "hints"])
def test_a_tool_that_needs_a_gpu_is_refused(run: Any, options: tuple[str, ...], kind: str) -> None:
    code, log, out = run(*options, **{kind: [IMAGE, cuda(cudaDeviceCountMin=2)]})
    assert (code, out) == (1, "")
    errors = [line for line in log.splitlines() if "ERROR" in line]
    assert len(errors) == 1
    assert "GPUs are not shown to steps yet" in errors[0]


@pytest.mark.parametrize("options", PLACES)
def test_a_gpu_for_a_tool_without_an_image_is_cwltools_affair(
    run: Any, options: tuple[str, ...]
) -> None:
    code, log, _ = run(*options, hints=[cuda()])
    assert code == 1
    assert "Could not satisfy CUDARequirement" in log


def test_packages_that_are_looked_for_do_not_do_without_the_image(run: Any) -> None:
    packages = [{"class": "SoftwareRequirement", "packages": {"busybox": {}}}]
    options = ("--beta-conda-dependencies", "--default-container", "busybox:1.36")
    code, log, out = run(*options, hints=packages)
    assert (code, out) == (0, IN_THE_SANDBOX), log
