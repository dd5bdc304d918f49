# SPDX-License-Identifier: Apache-2.0
"""Workflows whose images are files at registries and web servers, from the download to a step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Command
from registry_server import OCI, Registry, serve
from sif_files import document, partition, sif, squashfs
from web_server import Site, serve_site

from cwl_udss.images.formats.sif.layout import ARCHITECTURES
from cwl_udss.images.manifests.manifest import this_platform

TOOL = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "baseCommand": ["sh", "-c", 'echo "$FROM_IMAGE"'],
    "inputs": [],
    "outputs": {"said": "stdout"},
    "stdout": "said",
}


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site() as running:
        yield running


@pytest.fixture
def oras() -> Iterator[Registry]:
    with serve(Registry()) as running:
        yield running


@pytest.fixture(scope="session")
def image(busybox_root: Path) -> bytes:
    """A SIF file as `apptainer pull docker://…` makes it."""
    number = next(
        code for code, name in ARCHITECTURES.items() if name == this_platform().architecture
    )
    config = document("oci-config.json", json.dumps({"Env": ["FROM_IMAGE=yes"]}).encode())
    root = partition(squashfs(busybox_root), architecture=number)
    return sif(config, root, architecture=number)


def push(registry: Registry, image: bytes) -> str:
    kind = "application/vnd.sylabs.sif"
    manifest = {
        "schemaVersion": 2,
        "config": registry.add_blob(b"{}", f"{kind}.config.v1+json"),
        "layers": [registry.add_blob(image, f"{kind}.layer.v1.sif")],
    }
    return registry.add_manifest("1", manifest, f"{OCI}.manifest.v1+json")


def tool(**requirement: str) -> str:
    return json.dumps({**TOOL, "requirements": {"DockerRequirement": requirement}})


def test_a_tool_whose_image_is_pulled_by_oras(
    run_command: Command, oras: Registry, image: bytes, tmp_path: Path
) -> None:
    digest = push(oras, image)
    name = f"oras://{oras.address}/image:1"
    (tmp_path / "tool.cwl").write_text(tool(dockerPull=name))
    pulled = run_command("cwl-udss", "images", "pull", "tool.cwl")
    assert pulled.stdout == f"{digest} {name}\n", pulled.stderr
    asked = len(oras.requests)
    done = run_command("cwltool", "--udss", "--udss-offline", "--outdir", "out", "tool.cwl")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/said").read_text() == "yes\n"
    done = run_command("cwltool", "--udss", "--disable-pull", "--outdir", "out", "tool.cwl")
    assert done.returncode == 0, done.stderr
    assert len(oras.requests) == asked
    done = run_command("cwltool", "--udss", "--force-docker-pull", "--outdir", "out", "tool.cwl")
    assert done.returncode == 0, done.stderr
    assert oras.paths("/blobs/")[asked:] == []
    run = run_command("cwl-udss", "run", name, "sh", "-c", 'echo "$FROM_IMAGE"')
    assert run.stdout == "yes\n", run.stderr


def test_a_document_at_a_url_with_an_image_beside_it(
    run_command: Command, site: Site, image: bytes, tmp_path: Path
) -> None:
    site.add("/wf/images/a.sif", image)
    document = site.add("/wf/tool", tool(dockerLoad="images/a.sif"))
    done = run_command("cwltool", "--udss", "--outdir", "out", document)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/said").read_text() == "yes\n"
    pulled = run_command("cwl-udss", "images", "pull", "--udss-offline", document)
    assert pulled.returncode == 1  # the document is not to be had
    assert "Traceback" not in pulled.stderr


def test_images_and_documents_at_urls_are_told_apart(
    run_command: Command, site: Site, image: bytes, tmp_path: Path
) -> None:
    """By what is there: names at web servers have any ending."""
    digest = f"sha256:{hashlib.sha256(image).hexdigest()}"
    url = site.add("/singularity/samtools%3A1.17--h_0", image)
    document = site.add("/descriptor", tool(dockerPull=url))
    pulled = run_command("cwl-udss", "images", "pull", url, document)
    assert pulled.stdout == f"{digest} {url}\n", pulled.stderr
    for name in (url, document):
        kept = run_command("cwl-udss", "images", "export", f"{len(name)}.tar", name)
        assert kept.returncode == 0, kept.stderr
    shown = run_command("cwl-udss", "images", "inspect", url)
    assert url in json.loads(shown.stdout)["references"]  # others may have the same image
    assert run_command("cwl-udss", "images", "rm", url).returncode == 0
    page = site.add("/page", "<!DOCTYPE html>", headers={"Content-Type": "text/html"})
    for wrong, words in ((site.url("/none"), "404"), (page, "is a web page")):
        pulled = run_command("cwl-udss", "images", "pull", wrong)
        assert (pulled.returncode, words in pulled.stderr) == (1, True), pulled.stderr
        assert "Traceback" not in pulled.stderr
