# SPDX-License-Identifier: Apache-2.0
"""Programs that run one command in one container: boutiques, datalad, singularity-hpc."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
from accounts import Account
from clients import install
from processes import OUTSIDE, WHERE

IMAGE = "debian:stable-slim"
DESCRIPTOR = {
    "name": "shout",
    "description": "Makes a text loud.",
    "tool-version": "1",
    "schema-version": "0.5",
    "command-line": f'tr a-z A-Z < [TEXT] > shouted; echo "$GREETING" >> shouted; {WHERE}',
    "container-image": {"type": "docker", "image": IMAGE},
    "environment-variables": [{"name": "GREETING", "value": "hello  world"}],
    "inputs": [{"id": "text", "name": "text", "type": "File", "value-key": "[TEXT]"}],
    "output-files": [{"id": "shouted", "name": "shouted", "path-template": "shouted"}],
}


@pytest.mark.parametrize("option", ["--force-docker", "--force-singularity"])
def test_boutiques(account: Account, tmp_path: Path, option: str) -> None:
    (tmp_path / "text").write_text("a text\n")
    (tmp_path / "tool.json").write_text(json.dumps(DESCRIPTOR))
    (tmp_path / "job.json").write_text(json.dumps({"text": "text"}))
    done = account.succeed(
        *(install("boutiques") / "bosh", "exec", "launch", option),
        *("--imagepath", tmp_path / "image.simg", "tool.json", "job.json"),
        cwd=tmp_path,
    )
    assert "contained" in done.stdout
    assert (tmp_path / "shouted").read_text() == "A TEXT\nhello  world\n"


@pytest.mark.parametrize("scheme", ["docker", "dhub"])
def test_datalad(account: Account, tmp_path: Path, scheme: str) -> None:
    programs = install("datalad")
    author = {
        f"GIT_{who}_{what}": "t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    variables = {**author, "PATH": account.path(programs)}

    def datalad(*words: str, cwd: Path = tmp_path / "dataset") -> str:
        return account.succeed(programs / "datalad", *words, cwd=cwd, variables=variables).stdout

    datalad("create", "dataset", cwd=tmp_path)
    (tmp_path / "dataset" / "where.sh").write_text(f"{{ {WHERE}; }} > where\n")
    datalad("save")
    datalad("containers-add", "box", "--url", f"{scheme}://{IMAGE}")
    said = datalad("containers-run", "-n", "box", "sh where.sh")
    assert (tmp_path / "dataset" / "where").read_text() == "contained\n", said


@pytest.mark.parametrize("engine", ["singularity", "podman"])
def test_singularity_hpc(account: Account, registry: str, tmp_path: Path, engine: str) -> None:
    """It pulls an image, and writes a command for each program in it."""
    repository = "quay.io/nextflow/bash"
    manifest = requests.head(
        f"http://{registry}/v2/{repository}/manifests/latest",
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        timeout=10,
    )
    digest = manifest.headers["Docker-Content-Digest"]
    recipe = {
        "docker": repository,
        "url": "https://example.org",
        "maintainer": "@nobody",
        "description": "a shell",
        "latest": {"latest": digest},
        "tags": {"latest": digest},
        "aliases": {"shout": "/usr/bin/tr a-z A-Z", "where": "/usr/bin/test"},
    }
    place = tmp_path / "registry" / repository
    place.mkdir(parents=True)
    (place / "container.yaml").write_text(json.dumps(recipe))
    shpc = install("shpc") / "shpc"
    [defaults] = shpc.parent.parent.glob("lib/*/site-packages/shpc/settings.yml")
    settings = tmp_path / "settings.yml"
    changed = {"registry": [f"{tmp_path}/registry"], "container_tech": engine}
    changed |= {f"{name}_base": str(tmp_path / name) for name in ("container", "module", "wrapper")}
    lines = [
        line
        for line in defaults.read_text().splitlines()
        if line.partition(":")[0] not in {*changed, "sync_registry"}
    ]
    lines += [f"{name}: {json.dumps(value)}" for name, value in changed.items()]
    settings.write_text("\n".join(lines))
    command = (shpc, "--settings-file", settings, "install", repository)
    account.succeed(*command, cwd=tmp_path)
    commands = tmp_path / "wrapper" / repository / "latest" / "bin"
    shout = f"echo a text | '{commands}/shout'"
    assert account.succeed("sh", "-c", shout, cwd=tmp_path).stdout == "A TEXT\n"
    assert account.run(commands / "where", "-e", OUTSIDE, cwd=tmp_path).returncode == 1
