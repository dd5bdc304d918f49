# SPDX-License-Identifier: Apache-2.0
"""Workflows, input objects and all that they name at web servers, with and without a network."""

from __future__ import annotations

import json
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Command
from web_server import Site, serve_site

BUSYBOX = {"DockerRequirement": {"dockerPull": "busybox:1.36"}}
DEBIAN = {"DockerRequirement": {"dockerPull": "debian:stable-slim"}}
TOOL: dict[str, Any] = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "hints": BUSYBOX,
    "inputs": {"word": {"type": "string?", "inputBinding": {}}},
    "baseCommand": "echo",
    "stdout": "out.txt",
    "outputs": {"out": "stdout"},
}
OFFLINE = "the run is --udss-offline"


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site() as running:
        yield running


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that nobody is."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def cwltool(run_command: Command, tmp_path: Path) -> Any:
    """Run it; return the exit code and the log. The cache of documents is the test's own, and the
    image is there."""
    run_command("cwl-udss", "images", "pull", BUSYBOX["DockerRequirement"]["dockerPull"])

    def run(*arguments: str) -> tuple[int, str]:
        options = ("--udss", "--disable-color", "--timestamps")
        done = run_command("cwltool", *options, *arguments, HOME=str(tmp_path / "home"))
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    return run


def workflow(*runs: Any, **fields: Any) -> dict[str, Any]:
    steps = {f"step{n}": {"run": run, "in": {}, "out": ["out"]} for n, run in enumerate(runs)}
    return {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "inputs": {},
        "steps": steps,
        "outputs": {"out": {"type": "File", "outputSource": "step0/out"}},
        **fields,
    }


def write(path: Path, document: Any) -> str:
    path.write_text(json.dumps(document))
    return path.name


def test_a_workflow_and_its_input_object_by_url(cwltool: Any, site: Site, tmp_path: Path) -> None:
    tool = site.add("/tool.cwl", json.dumps(TOOL))
    job = site.add("/job.json", json.dumps({"word": "hello"}))
    code, log = cwltool(tool, job)
    assert code == 0, log
    assert (tmp_path / "out.txt").read_text() == "hello\n"


@pytest.mark.parametrize("by_url", ["workflow", "job", "run", "$import", "$include"])
def test_nothing_is_fetched_offline(cwltool: Any, site: Site, tmp_path: Path, by_url: str) -> None:
    tool = site.add("/tool.cwl", json.dumps(TOOL))
    job = site.add("/job.json", "{}")
    documents = {
        "workflow": (tool,),
        "job": (write(tmp_path / "tool.cwl", TOOL), job),
        "run": (write(tmp_path / "run.cwl", workflow(tool)),),
        "$import": (write(tmp_path / "import.cwl", workflow({"$import": tool})),),
        "$include": (write(tmp_path / "include.cwl", {**TOOL, "doc": {"$include": job}}),),
    }
    code, log = cwltool("--udss-offline", *documents[by_url])
    assert (code, site.requests) == (1, [])
    assert OFFLINE in log
    assert (job if by_url in ("job", "$include") else tool) in log
    assert cwltool(*documents[by_url])[0] == 0


def test_schemas_at_web_servers_cost_one_warning_offline(
    cwltool: Any, site: Site, tmp_path: Path
) -> None:
    write(tmp_path / "local.owl", "")
    schemas = [site.url("/EDAM.owl"), site.url("/schema.owl")]
    tools = [write(tmp_path / f"tool{n}.cwl", {**TOOL, "$schemas": schemas}) for n in range(3)]
    main = write(tmp_path / "main.cwl", workflow(*tools, **{"$schemas": schemas}))
    code, log = cwltool("--udss-offline", main)
    assert (code, site.requests) == (0, []), log
    assert log.count("WARNING") == log.count("$schemas at web servers are left out") == 1


def test_a_server_that_does_not_answer_is_asked_once(
    cwltool: Any, silent: str, tmp_path: Path
) -> None:
    schemas = [f"{silent}/EDAM.owl", f"{silent}/schema.owl"]
    tools = [write(tmp_path / f"tool{n}.cwl", {**TOOL, "$schemas": schemas}) for n in range(3)]
    code, log = cwltool(write(tmp_path / "main.cwl", workflow(*tools)))
    assert code == 0, log
    for schema in schemas:
        assert log.count(f"Could not load extension schema {schema}") == 1
    assert "0x" not in log


def test_schemas_in_files_and_at_servers_are_read(cwltool: Any, site: Site, tmp_path: Path) -> None:
    ontology = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
        xmlns:rdfs="http://www.w3.org/2000/01/rdf-schema#">
      <rdf:Description rdf:about="http://formats.example/small">
        <rdfs:subClassOf rdf:resource="http://formats.example/any"/>
      </rdf:Description></rdf:RDF>"""
    (tmp_path / "formats.owl").write_text(ontology)
    write(tmp_path / "data", {})
    needs = {"type": "File", "format": "http://formats.example/any"}
    given = {"class": "File", "path": "data", "format": "http://formats.example/small"}
    write(tmp_path / "job.json", {"data": given})
    for schemas, options in (
        ("formats.owl", ("--udss-offline",)),
        (site.add("/formats.owl", ontology), ()),
    ):
        tool = {**TOOL, "inputs": {"data": needs}, "$schemas": [schemas]}
        code, log = cwltool(*options, write(tmp_path / "tool.cwl", tool), "job.json")
        assert code == 0, log
        assert "WARNING" not in log


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_document_that_is_not_there_is_named(
    cwltool: Any, site: Site, tmp_path: Path, status: int
) -> None:
    url = site.add("/tool.cwl", json.dumps(TOOL), status=status)
    code, log = cwltool(url)
    assert code == 1
    assert f"Error fetching {url}: {status}" in " ".join(log.split())
    code, log = cwltool(write(tmp_path / "main.cwl", workflow(url)))
    assert code == 1
    assert url in log


def pulled(text: str) -> set[str]:
    return {line.split()[1] for line in text.splitlines()}


def test_images_of_a_workflow_at_a_url(run_command: Command, site: Site, tmp_path: Path) -> None:
    site.add("/wf/tools/tool.cwl", json.dumps(TOOL))
    plain = site.add(
        "/wf/main.cwl", json.dumps(workflow("tools/tool.cwl", {**TOOL, "hints": DEBIAN}))
    )
    packed = {
        "cwlVersion": "v1.2",
        "$graph": [
            {**workflow("#tool"), "id": "main"},
            {**TOOL, "id": "tool"},
            {**TOOL, "id": "other", "hints": DEBIAN},
        ],
    }
    graph = site.add("/wf/packed?version=2", json.dumps(packed))
    home = str(tmp_path / "home")
    for names, expected in (
        ((plain,), {"busybox:1.36", "debian:stable-slim"}),
        ((graph,), {"busybox:1.36"}),
        ((f"{graph}#main",), {"busybox:1.36"}),
        ((f"{graph}#other",), {"debian:stable-slim"}),
    ):
        done = run_command("cwl-udss", "images", "pull", *names, HOME=home)
        assert done.returncode == 0, done.stderr
        assert pulled(done.stdout) == expected
    exported = run_command("cwl-udss", "images", "export", "images.tar", graph, HOME=home)
    assert exported.returncode == 0, exported.stderr


def test_a_url_of_no_workflow_has_no_images(
    run_command: Command, site: Site, silent: str, tmp_path: Path
) -> None:
    page = site.add(
        "/page", "<html><body>Welcome</body></html>", headers={"Content-Type": "text/html"}
    )
    data = site.add("/data.json", '{"a": 1}')
    home = str(tmp_path / "home")
    for url in (page, data, site.url("/missing.cwl"), f"{silent}/main.cwl"):
        done = run_command("cwl-udss", "images", "pull", url, HOME=home)
        assert done.returncode == 1
        problem = "is a web page" if url == page else "cannot be read"
        assert f"cwl-udss: {url} {problem}" in done.stderr
        assert "Traceback" not in done.stderr
        assert "0x" not in done.stderr
    done = run_command("cwl-udss", "images", "pull", "--udss-offline", data, HOME=home)
    assert done.returncode == 1
    assert OFFLINE in done.stderr


def test_an_image_file_beside_a_tool_at_a_url(
    cwltool: Any, run_command: Command, site: Site, tmp_path: Path, busybox_root: Path
) -> None:
    with tarfile.open(tmp_path / "served.tar", "w") as archive:
        archive.add(busybox_root, "")
    image = {"DockerRequirement": {"dockerImport": "images/root.tar"}}
    url = site.add("/wf/tool.cwl", json.dumps({**TOOL, "hints": image, "baseCommand": "true"}))
    at = site.add("/wf/images/root.tar", (tmp_path / "served.tar").read_bytes())
    pulled_first = run_command("cwl-udss", "images", "pull", url, HOME=str(tmp_path / "home"))
    assert pulled(pulled_first.stdout) == {at}
    code, log = cwltool(url, write(tmp_path / "job.json", {}))
    assert code == 0, log
    assert site.requests.count("GET /wf/images/root.tar") == 1
