# SPDX-License-Identifier: Apache-2.0
"""Inputs at web servers: a step gets the file that is there, or there is no step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from commands import Command
from web_server import Site, serve_site

from cwl_udss.engine.inputs.remote import RemoteInputs

TOOL: dict[str, Any] = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "hints": {"DockerRequirement": {"dockerPull": "busybox:1.36"}},
    "requirements": {"InlineJavascriptRequirement": {}},
    "inputs": {"x": "File"},
    "baseCommand": ["cat"],
    "arguments": ["$(inputs.x)"],
    "stdout": "out.txt",
    "outputs": {"out": "stdout"},
}
PILOT = (
    "--udss-batch=local",
    "--udss-pilot",
    "--udss-batch-cores=1",
    "--udss-batch-memory=1G",
    "--udss-batch-walltime=60",
)


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site() as running:
        yield running


@pytest.fixture
def run(run_command: Command, tmp_path: Path) -> Any:
    """Run such a tool, or a workflow of it; return the exit code, the log and the output.

    Nothing that was downloaded is there afterwards.
    """

    def run_tool(
        x: Any, *options: str, workflow: dict[str, Any] | None = None, **fields: Any
    ) -> tuple[int, str, str]:
        (tmp_path / "tool.cwl").write_text(json.dumps({**TOOL, **fields}))
        (tmp_path / "main.cwl").write_text(json.dumps(workflow))
        (tmp_path / "job.json").write_text(json.dumps({"x": x}))
        (tmp_path / "tmp").mkdir(exist_ok=True)
        document = "tool.cwl" if workflow is None else "main.cwl"
        done = run_command(
            "cwltool",
            *("--udss", "--disable-color", *options, document, "job.json"),
            HOME=str(tmp_path / "home"),
            TMPDIR=str(tmp_path / "tmp"),
        )
        assert "Traceback" not in done.stderr
        files = [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]
        assert [path for path in files if path.parent.name != "tried"] == []  # of runtimes
        assert not (tmp_path / "home/.cache/cwltool").exists()
        out = tmp_path / "out.txt"
        text = out.read_text() if out.exists() else ""
        out.unlink(missing_ok=True)
        return done.returncode, done.stderr, text

    return run_tool


def file(url: str, **fields: Any) -> dict[str, Any]:
    return {"class": "File", "location": url, **fields}


def scatter(length: int, **step: Any) -> dict[str, Any]:
    return {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "requirements": {"ScatterFeatureRequirement": {}},
        "inputs": {"x": "File[]"},
        "steps": {
            "step": {"run": "tool.cwl", "scatter": "x", "in": {"x": "x"}, "out": ["out"], **step}
        },
        "outputs": {"out": {"type": "File[]", "outputSource": "step/out"}},
    }


@pytest.mark.parametrize("options", [(), ("--parallel",), PILOT])
def test_a_file_is_downloaded_once_in_a_run(run: Any, site: Site, options: tuple[str, ...]) -> None:
    url = site.add("/reads.txt", "reads\n")
    code, log, out = run([file(url)] * 3, *options, workflow=scatter(3))
    assert (code, out) == (0, "reads\n"), log
    assert site.requests == ["GET /reads.txt"]
    assert log.count(f"downloading {url} (6 bytes)") == 1


@pytest.mark.parametrize("options", [(), ("--parallel",), PILOT])
@pytest.mark.parametrize("status", [404, 401])
def test_a_file_that_is_not_there_is_no_input(
    run: Any, site: Site, options: tuple[str, ...], status: int
) -> None:
    url = site.add("/reads.txt", "<html>No</html>", status=status)
    code, log, out = run(file(url), *options)
    assert (code, out) == (1, "")
    assert f"{url} cannot be downloaded: {status}" in log
    code, log, _ = run([file(url)] * 2, *options, "--on-error=continue", workflow=scatter(2))
    assert code == 1
    assert f"{url} cannot be downloaded: {status}" in log
    assert site.requests == ["GET /reads.txt"] * 2


def test_nothing_is_downloaded_offline(run: Any, site: Site) -> None:
    url = site.add("/reads.txt", "reads\n")
    assert run(file(url))[0] == 0
    site.requests.clear()
    with_default = {"x": {"type": "File", "default": file(url)}}
    with_secondary = {"x": {"type": "File", "secondaryFiles": [".idx"]}}
    for x, fields in (
        (file(url), {}),
        (None, {"inputs": with_default}),
        (file(url), {"inputs": with_secondary}),
        (file(url), {"hints": {}}),
    ):
        code, log, out = run(x, "--udss-offline", **fields)
        assert (code, out, site.requests) == (1, "", [])
        assert f"{url}" in log
        assert "is not downloaded, as the run is --udss-offline" in log


def test_results_are_kept_by_content(run: Any, site: Site, tmp_path: Path) -> None:
    url = site.add("/reads.txt", "one\n")
    cache = ("--cachedir", str(tmp_path / "cache"))
    assert run(file(url), *cache)[2] == "one\n"
    code, log, out = run(file(url), *cache)
    assert (code, out) == (0, "one\n")
    assert "result from the cache" in log
    site.add("/reads.txt", "two\n")
    assert run(file(url), *cache)[2] == "two\n"
    site.add("/reads.txt", "gone", status=404)
    assert run(file(url), *cache)[0] == 1


def test_what_the_input_object_says_of_a_file_is_checked(run: Any, site: Site) -> None:
    url = site.add("/reads.txt", "reads\n")
    checksum = "sha1$" + hashlib.sha1(b"reads\n").hexdigest()
    right = ({"size": 6}, {"checksum": checksum}, {"checksum": "md5$0"})
    for said in right:
        assert run(file(url, **said))[2] == "reads\n"
    for said in ({"size": 7}, {"checksum": f"sha1${'0' * 40}"}, {"size": 6, "checksum": "sha1$0"}):
        code, log, out = run(file(url, **said))
        assert (code, out) == (1, "")
        assert f"{url} is not the file that the input object describes" in log


@pytest.mark.parametrize("kind", ["pattern", "explicit", "missing", "optional"])
def test_secondary_files(run: Any, site: Site, kind: str) -> None:
    url = site.add("/reads.bam", "reads\n")
    if kind in ("pattern", "explicit"):
        site.add("/reads.bam.bai", "index\n")
    x = file(url)
    if kind == "explicit":
        x["secondaryFiles"] = [file(site.url("/reads.bam.bai"))]
    pattern = ".bai?" if kind == "optional" else ".bai"
    inputs = {"x": {"type": "File", "secondaryFiles": [pattern]}}
    script = 'cat "$1"*'
    code, log, out = run(x, inputs=inputs, baseCommand=["sh", "-c", script, "sh"])
    if kind == "missing":
        assert code == 1
        assert "Missing required secondary file 'reads.bam.bai'" in log
    else:
        assert (code, out) == (0, "reads\n" if kind == "optional" else "reads\nindex\n"), log


def test_contents_are_loaded(run: Any, site: Site) -> None:
    url = site.add("/reads.txt", "7")
    inputs = {"x": {"type": "File", "loadContents": True}}
    arguments = ["$(inputs.x.contents)", "$(inputs.x.basename)"]
    code, log, out = run(file(url), inputs=inputs, baseCommand="echo", arguments=arguments)
    assert (code, out) == (0, "7 reads.txt\n"), log


def test_directories(run: Any, site: Site) -> None:
    inputs = {"x": "Directory"}
    script = 'cat "$1"/*'
    fields = {"inputs": inputs, "baseCommand": ["sh", "-c", script, "sh"]}
    given = {"class": "Directory", "location": site.url("/data/")}
    code, log, _ = run(given, **fields)
    assert code == 1
    assert f"{site.url('/data')}" in log
    assert "web servers do not say what is in one" in log
    listing = [file(site.add("/data/a", "a\n")), file(site.add("/elsewhere/b", "b\n"))]
    code, log, out = run({**given, "listing": listing}, **fields)
    assert (code, out) == (0, "a\nb\n"), log
    literal = {"class": "Directory", "basename": "d", "listing": listing}
    code, log, out = run(literal, **fields)
    assert (code, out) == (0, "a\nb\n"), log


@pytest.mark.parametrize("scheme", ["ftp", "s3", "gs"])
def test_other_schemes_are_refused_in_a_sentence(run: Any, scheme: str) -> None:
    code, log, _ = run(file(f"{scheme}://bucket.example/reads.txt"))
    assert code == 1
    assert f"{scheme}://bucket.example/reads.txt cannot be downloaded, as only http" in log


@pytest.mark.parametrize("kind", ["tool", "workflow", "expression"])
def test_an_input_that_is_an_output(run: Any, site: Site, tmp_path: Path, kind: str) -> None:
    url = site.add("/reads.txt", "reads\n")
    outputs: dict[str, Any] = {
        "out": {"type": "File", "outputBinding": {"outputEval": "$(inputs.x)"}}
    }
    workflow: dict[str, Any] | None = None
    if kind == "workflow":
        outputs = {"out": {"type": "File", "outputSource": "x"}}
        workflow = {
            **{"cwlVersion": "v1.2", "class": "Workflow", "steps": {}},
            **{"inputs": {"x": "File"}, "outputs": outputs},
        }
    if kind == "expression":
        workflow = {
            **{"cwlVersion": "v1.2", "class": "ExpressionTool"},
            **{"requirements": {"InlineJavascriptRequirement": {}}},
            **{"inputs": {"x": "File"}, "outputs": {"out": "File"}},
            "expression": "${return {out: inputs.x}}",
        }
    code, log, _ = run(file(url), "--outdir", "results", workflow=workflow, outputs=outputs)
    assert code == 0, log
    assert (tmp_path / "results/reads.txt").read_text() == "reads\n"
    assert site.requests == ["GET /reads.txt"]


def test_inputs_in_the_working_directory(run: Any, site: Site) -> None:
    url = site.add("/reads.txt", "reads\n")
    requirements = {"InitialWorkDirRequirement": {"listing": ["$(inputs.x)"]}}
    fields = {"requirements": requirements, "baseCommand": ["cat", "reads.txt"], "arguments": []}
    code, log, out = run(file(url), **fields)
    assert (code, out) == (0, "reads\n"), log


def test_threads_wait_for_one_download(site: Site) -> None:
    url = site.add("/reads.txt", "reads\n", drip_seconds=0.01)
    recorded: list[tuple[str, str]] = []
    with (
        RemoteInputs(offline=False, record=lambda *said: recorded.append(said)) as inputs,
        ThreadPoolExecutor(8) as threads,
    ):
        found = set(threads.map(inputs.get, [url, f"{url}#part"] * 4))
        (only,) = found
        assert only.path.read_text() == "reads\n"
    assert not only.path.exists()
    assert recorded == [(str(only.path), only.checksum)]
    assert site.requests == ["GET /reads.txt"]


def test_a_tool_without_an_image(run: Any, site: Site) -> None:
    url = site.add("/reads.txt", "reads\n")
    code, log, out = run(file(url), hints={})
    assert (code, out) == (0, "reads\n"), log
