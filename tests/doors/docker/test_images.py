# SPDX-License-Identifier: Apache-2.0
"""Images by the doors podman and docker, as those who call them name and judge them."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest
from doors.callers import Door

IMAGE = "busybox"


@pytest.fixture(autouse=True)
def pulled(podman: Door) -> str:
    """The id of the image, which is in the store."""
    done = podman("pull", "--quiet", IMAGE)
    assert done.returncode == 0
    return done.stdout.strip()


def test_an_image_is_listed_by_its_names_and_id(podman: Door, docker: Door, pulled: str) -> None:
    assert docker("images", "-q", "--no-trunc", IMAGE).stdout == f"sha256:{pulled}\n"
    assert docker("images", "-q", "nonesuch").stdout == ""
    line = podman("images", "--format", "{{.Repository}}:{{.Tag}}", IMAGE).stdout
    assert "docker.io/library/busybox:latest" in line.splitlines()  # and what else is of that name
    assert docker("inspect", "-f", "{{.Id}}", pulled[:12]).stdout == f"sha256:{pulled}\n"
    config = json.loads(docker("inspect", "-f", "{{json .Config}}", IMAGE).stdout)
    assert config["Cmd"] == ["sh"]


def test_what_is_not_there_is_an_empty_list_and_a_status(docker: Door, podman: Door) -> None:
    done = docker("inspect", "nonesuch")
    assert (done.returncode, json.loads(done.stdout)) == (1, [])
    assert podman("image", "exists", "nonesuch").returncode == 1
    assert podman("image", "exists", IMAGE).returncode == 0


def test_what_is_saved_has_the_id_that_is_shown(docker: Door, tmp_path: Path, pulled: str) -> None:
    archive = tmp_path / "a.tar"
    assert docker("image", "save", IMAGE, "--output", str(archive)).returncode == 0
    with tarfile.open(archive) as opened:
        (entry,) = json.loads(_member(opened, "manifest.json"))
        assert hashlib.sha256(_member(opened, entry["Config"])).hexdigest() == pulled
        assert entry["RepoTags"] == ["busybox:latest"]
    assert docker("load", "-i", str(archive)).stdout == "Loaded image: busybox:latest\n"


def test_without_its_layers_it_is_saved_as_one(docker: Door, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    variables = {"CWL_UDSS_OFFLINE": "yes"}
    assert docker("save", "-o", str(archive), IMAGE, variables=variables).returncode == 0
    with tarfile.open(archive) as opened:
        (entry,) = json.loads(_member(opened, "manifest.json"))
        id = hashlib.sha256(_member(opened, entry["Config"])).hexdigest()
    assert f"sha256:{id}\n" in docker("images", "--all", "--quiet", "--no-trunc").stdout
    assert docker("run", "--rm", f"sha256:{id}", "echo", "x").stdout == "x\n"


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    assert stream is not None
    return stream.read()


def test_another_name_is_as_good(docker: Door) -> None:
    assert docker("tag", IMAGE, "my/box:1").returncode == 0
    assert docker("run", "--rm", "my/box:1", "echo", "x").stdout == "x\n"
    assert docker("inspect", "my/box:1").returncode == 0
    assert docker("rmi", "my/box:1").returncode == 0
    assert docker("inspect", "my/box:1").returncode == 1
    assert docker("inspect", IMAGE).returncode == 0


def test_an_image_is_built_and_run(docker: Door, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo hi > /hi\n")
    assert docker("build", "--tag=built:1", str(tmp_path)).returncode == 0
    assert docker("run", "--rm", "--pull=never", "built:1", "cat", "/hi").stdout == "hi\n"


def test_words_and_statuses_are_those_that_callers_look_for(docker: Door) -> None:
    done = docker("pull", "busybox:nonesuch", variables={"CWL_UDSS_OFFLINE": "yes"})
    assert done.returncode == 1
    assert done.stderr.startswith("Error response from daemon: ")
    assert docker("pull", "BAD NAME").returncode == 1


def test_versions_are_where_they_are_looked_for(docker: Door, podman: Door) -> None:
    assert docker("version", "--format", "{{.Client.Version}}").stdout.count(".") == 2
    assert docker("--version").stdout.startswith("Docker version ")
    assert podman("info", "--format", "{{.host.arch}}").returncode == 0
    assert docker("info").returncode == 0


def test_what_is_there_twice_has_one_id(docker: Door, tmp_path: Path, pulled: str) -> None:
    archive = tmp_path / "a.tar"
    assert docker("save", "-o", str(archive), IMAGE).returncode == 0
    assert docker("load", "-i", str(archive)).returncode == 0
    done = docker("run", "--rm", f"sha256:{pulled}", "echo", "1")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
