# SPDX-License-Identifier: Apache-2.0
"""Files and directories of others as images, by the commands that people type."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Command
from sif_files import LAUNCH, busybox_root, document, partition, sif, squashfs

from cwl_udss.errors import ImageError
from cwl_udss.images.formats.sif.layout import FileSystem, ObjectKind, Part
from cwl_udss.images.in_place.found import found_image
from cwl_udss.images.manifests.manifest import Platform

DEFINITION = ObjectKind.DEFINITION
SCRIPTS = {
    "10-docker2singularity.sh": 'export PATH="/opt/bin:$PATH"\nexport BOTH="${BOTH:-"first"}"\n',
    "90-environment.sh": 'GREETING="hello world"\nexport TEXT="$GREETING, $BOTH"\n',
    "99-runtimevars.sh": 'export SINGULARITY_NAME="x.sif" APPTAINER_BIND=\n',
}
DOCKER = {
    "Env": ["PATH=/bin:/sbin", "FROM=docker"],
    "Entrypoint": ["/bin/echo", "entry"],
    "Cmd": ["command"],
    "WorkingDir": "/bin",
    "User": "0",
}


def with_scripts(root: Path) -> Path:
    (root / ".singularity.d/env").mkdir(parents=True)
    for name, text in SCRIPTS.items():
        (root / ".singularity.d/env" / name).write_text(text)
    runscript = root / ".singularity.d/runscript"
    runscript.write_text('#!/bin/sh\necho "the runscript, $TEXT"\n')
    return root


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return squashfs(busybox_root(tmp_path_factory.mktemp("plain") / "root"))


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return squashfs(with_scripts(busybox_root(tmp_path_factory.mktemp("scripted") / "root")))


def run_tool(run_command: Command, tmp_path: Path, field: str, name: str, *options: str) -> str:
    """The environment that a step has, by name and value."""
    tool: dict[str, Any] = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "requirements": {"DockerRequirement": {field: name}},
        "baseCommand": "env",
        "inputs": [],
        "stdout": "out.txt",
        "outputs": {"out": {"type": "stdout"}},
    }
    (tmp_path / "tool.cwl").write_text(json.dumps(tool))
    done = run_command("cwltool", "--udss", *options, "tool.cwl")
    assert done.returncode == 0, done.stderr
    return (tmp_path / "out.txt").read_text()


@pytest.mark.parametrize("field", ["dockerImageId", "dockerLoad", "dockerImport"])
@pytest.mark.parametrize("name", ["x.sif", "./x.sif", "file"])
def test_a_sif_file_wherever_a_file_may_be_named(
    run_command: Command, tmp_path: Path, plain: bytes, field: str, name: str
) -> None:
    config = document("oci-config.json", json.dumps({"Env": DOCKER["Env"]}).encode())
    (tmp_path / "x.sif").write_bytes(sif(config, partition(plain)))
    name = f"file://{tmp_path}/x.sif" if name == "file" else name
    said = run_tool(run_command, tmp_path, field, name).splitlines()
    assert "FROM=docker" in said
    assert "PATH=/bin:/sbin" in said


def test_a_file_whose_name_is_no_text(run_command: Command, tmp_path: Path, plain: bytes) -> None:
    """Where the language is one whose text is checked, as most are."""
    config = document("oci-config.json", json.dumps(DOCKER).encode())
    name = os.fsdecode(b"x\xff.sif")
    (tmp_path / name).write_bytes(sif(config, partition(plain)))
    assert run_command("cwl-udss", "run", name).stdout == "entry command\n"
    command = ("/bin/sh", "-c", "cwl-udss images pull ./*.sif | od -c")
    done = run_command(*command, PYTHONIOENCODING="utf-8:strict")
    assert (done.stderr, "x 377" in done.stdout.replace("   ", " ")) == ("", True), done.stdout


def test_what_an_image_says_of_its_process(
    run_command: Command, tmp_path: Path, plain: bytes
) -> None:
    config = document("oci-config.json", json.dumps(DOCKER).encode())
    pulled = document("deffile", b"bootstrap: docker\nfrom: busybox\n\n", DEFINITION)
    (tmp_path / "x.sif").write_bytes(sif(pulled, config, partition(plain)))
    assert run_command("cwl-udss", "run", "x.sif").stdout == "entry command\n"
    assert run_command("cwl-udss", "run", "x.sif", "a", "b").stdout == "entry a b\n"


@pytest.mark.parametrize(
    "kind", ["sif", "definition", "rebuilt", "squashfs", "singularity 2", "directory"]
)
def test_the_scripts_of_a_definition_file(
    run_command: Command, tmp_path: Path, scripted: bytes, kind: str
) -> None:
    place = tmp_path / "image.sif"
    config = document("oci-config.json", json.dumps({"Env": ["FROM=docker"]}).encode())
    definition = b"Bootstrap: docker\nFrom: busybox\n%environment\n  export TEXT=x\n"
    if kind == "sif":
        place.write_bytes(sif(partition(scripted)))
    elif kind == "definition":
        deffile = document("deffile", definition, DEFINITION)
        place.write_bytes(sif(deffile, config, partition(scripted)))
    elif kind == "rebuilt":
        deffile = document("deffile", b"bootstrap: localimage\nfrom: old.sif\n", DEFINITION)
        place.write_bytes(sif(deffile, config, partition(scripted)))
    elif kind == "squashfs":
        place.write_bytes(scripted)
    elif kind == "singularity 2":
        place.write_bytes(LAUNCH + scripted)
    else:
        place = with_scripts(busybox_root(tmp_path / "image"))
    for _ in range(2):  # the second time they are not run
        said = run_tool(run_command, tmp_path, "dockerImageId", str(place)).splitlines()
        assert "TEXT=hello world, first" in said
        assert any(line.startswith("PATH=/opt/bin:") for line in said)
        assert not any("SINGULARITY" in line or "APPTAINER" in line for line in said)
    assert run_command("cwl-udss", "run", str(place)).stdout == (
        "the runscript, hello world, first\n"
    )


def test_scripts_that_fail(run_command: Command, tmp_path: Path) -> None:
    root = with_scripts(busybox_root(tmp_path / "root"))
    (root / ".singularity.d/env/95-apps.sh").write_text("nonsense-of-the-site || exit 3\n")
    done = run_command("cwl-udss", "run", "./root", "true")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "95-apps.sh" in line
    assert "nonsense-of-the-site" in line


def test_a_script_that_is_none_is_passed_over(run_command: Command, tmp_path: Path) -> None:
    root = with_scripts(busybox_root(tmp_path / "root"))
    (root / ".singularity.d/env/10-docker2singularity.sh").write_text('export A="` x"\n')
    done = run_command("cwl-udss", "run", "./root", "env")
    assert "TEXT=hello world, \n" in done.stdout
    assert "10-docker2singularity.sh" in done.stderr


def test_scripts_have_nothing_of_the_caller(run_command: Command, tmp_path: Path) -> None:
    root = with_scripts(busybox_root(tmp_path / "root"))
    text = 'export SEEN="$SECRET$HOME"\ntouch /bin/x 2>/dev/null && export SEEN=written\n'
    (root / ".singularity.d/env/95-apps.sh").write_text(text)
    done = run_command("cwl-udss", "run", "./root", "env", SECRET="of the caller")
    assert "SEEN=\n" in done.stdout
    assert not (root / "bin/x").exists()


def test_no_batch_job_needs_it_in_the_store(
    run_command: Command, tmp_path: Path, scripted: bytes
) -> None:
    (tmp_path / "x.sif").write_bytes(sif(partition(scripted)))
    options = ("--udss-batch=local", "--udss-pilot", "--udss-batch-cores=1")
    limits = ("--udss-batch-memory=1G", "--udss-batch-walltime=60")
    said = run_tool(run_command, tmp_path, "dockerImageId", "x.sif", *options, *limits)
    assert "TEXT=hello world, first" in said.splitlines()


def test_nothing_is_copied_into_the_store(
    run_command: Command, environment: dict[str, str], tmp_path: Path, plain: bytes
) -> None:
    (tmp_path / "x.sif").write_bytes(sif(partition(plain)))
    assert run_command("cwl-udss", "run", "x.sif", "true").returncode == 0
    found = run_command("cwl-udss", "images", "pull", "./x.sif")
    assert found.stdout == f"- {os.path.realpath(tmp_path)}/x.sif\n"
    images = Path(environment["CWL_UDSS_STORE"]) / "images"
    assert not images.exists() or not any(
        json.loads((image / "image.json").read_text())["size"] < len(plain)
        for image in images.iterdir()
    )
    facts = json.loads(run_command("cwl-udss", "images", "inspect", "./x.sif").stdout)
    assert (facts["digest"], facts["format"]) == ("", "squashfs")
    assert facts["offset"] % 4096 == 0
    assert facts["signatures"] == []


def test_a_changed_file_is_another_image(
    run_command: Command, tmp_path: Path, plain: bytes, scripted: bytes
) -> None:
    place = tmp_path / "x.sif"
    place.write_bytes(sif(partition(plain)))
    assert "TEXT" not in run_command("cwl-udss", "run", "x.sif", "env").stdout
    place.unlink()
    place.write_bytes(sif(partition(scripted)))
    assert "TEXT=hello world" in run_command("cwl-udss", "run", "x.sif", "env").stdout


AMD64 = Platform(os="linux", architecture="amd64")


def cut(content: bytes) -> bytes:
    return content[: len(content) - 4096]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: cut(sif(partition(root))), "is not whole"),
        (lambda root: sif(partition(root))[:100], "breaks off in its header"),
        (lambda root: sif(partition(root))[:5000], "breaks off in its table"),
        (lambda root: sif(), "no root filesystem"),
        (lambda root: sif(partition(root, part=Part.DATA)), "no root filesystem"),
        (lambda root: sif(partition(root), partition(root)), "several root filesystems"),
        (lambda root: sif(partition(root, FileSystem.EXT3)), "ext3"),
        (lambda root: sif(partition(root, FileSystem.ENCRYPTED_SQUASHFS)), "encrypted"),
        (lambda root: sif(partition(root, FileSystem.GOCRYPTFS_SQUASHFS)), "encrypted"),
        (lambda root: sif(partition(root, architecture=b"04"), architecture=b"04"), "arm64"),
        (lambda root: sif(partition(root)).replace(b"MAGIC\00001", b"MAGIC\00002"), "version"),
    ],
)
def test_a_sif_file_that_cannot_be_used(
    tmp_path: Path, plain: bytes, make: Callable[[bytes], bytes], sentence: str
) -> None:
    (tmp_path / "x.sif").write_bytes(make(plain))
    with pytest.raises(ImageError, match=sentence) as raised:
        found_image(tmp_path / "x.sif", "x.sif", AMD64)
    assert raised.value.advice
    assert "x.sif" in str(raised.value)


def test_a_pipe_is_not_waited_for(run_command: Command, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.sif")
    for command in (("run",), ("images", "inspect")):
        done = run_command("cwl-udss", *command, "x.sif")
        assert done.returncode == 1
        assert "x.sif is neither a file nor a directory" in done.stderr


def test_what_is_packed_is_to_be_unpacked(
    run_command: Command, tmp_path: Path, plain: bytes
) -> None:
    (tmp_path / "x.sif.gz").write_bytes(gzip.compress(sif(partition(plain)), 1))
    done = run_command("cwl-udss", "run", "./x.sif.gz", "true")
    assert "a SIF image (Apptainer's), in gzip" in done.stderr


def test_an_archive_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"\0" * 10240)
    assert found_image(tmp_path / "x.tar", "x.tar", AMD64) is None
