# SPDX-License-Identifier: Apache-2.0
"""Full and read-only disks: it is said which one, and nothing half is left on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import COMMANDS, Command
from needs import need
from test_cwltool import plain

DEBIAN = "docker.io/library/debian:stable-slim"
LEFT = "-- left --"
# A small disk in memory, in namespaces of the command's own; what is on it is listed at the end.
SCRIPT = f"""
mount -t tmpfs -o "$1" none disk || exit 70
[ "$2" = rw ] || mount -o remount,bind,ro disk
shift 2
"$@"
code=$?
echo "{LEFT}" >&2
find disk -type f >&2
exit $code
"""


@dataclass(frozen=True)
class Outcome:
    code: int
    said: str
    left: list[str]
    """The files on the disk."""


@pytest.fixture
def on_disk(run_command: Command, tmp_path: Path) -> Callable[..., Outcome]:
    """Run a command where `disk` is a filesystem of its own."""
    (tmp_path / "disk").mkdir()
    unshare = ("--map-root-user", "--mount", "--", "sh", "-c", SCRIPT, "sh")

    def run(name: str, *arguments: str, options: str = "size=3m", mode: str = "rw") -> Outcome:
        command = (str(COMMANDS / name), *arguments)
        done = run_command("/usr/bin/unshare", *unshare, options, mode, *command)
        if done.returncode == 70:
            need(f"needs a tmpfs in a user namespace: {done.stderr}")
        said, _, left = done.stderr.partition(LEFT)
        return Outcome(done.returncode, plain(said), left.split())

    return run


def write(path: Path, **fields: Any) -> None:
    tool = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "hints": {"DockerRequirement": {"dockerPull": "busybox:1.36"}},
        "inputs": {},
        **fields,
    }
    path.write_text(json.dumps(tool))


@pytest.fixture
def writer(tmp_path: Path) -> str:
    """A tool that leaves a file of 5 MB."""
    write(
        tmp_path / "write.cwl",
        baseCommand=["dd", "if=/dev/zero", "of=large", "bs=1M", "count=5"],
        outputs={"out": {"type": "File", "outputBinding": {"glob": "large"}}},
    )
    return "write.cwl"


@pytest.mark.parametrize("format", ["directory", "squashfs"])
def test_a_store(on_disk: Callable[..., Outcome], tmp_path: Path, format: str) -> None:
    store = ("--udss-store", "disk/store", "--udss-format", format)
    done = on_disk("cwl-udss", "images", "pull", *store, DEBIAN)
    assert done.code == 1
    assert f"store {tmp_path}/disk/store cannot be used: No space left on device" in done.said
    assert f"({tmp_path}/disk (tmpfs) has 3.1 MB free, which is not enough): free" in done.said
    assert done.left == []


def test_a_store_without_inodes(on_disk: Callable[..., Outcome], tmp_path: Path) -> None:
    pull = ("images", "pull", "--udss-store", "disk/store", "busybox:1.36")
    done = on_disk("cwl-udss", *pull, options="size=3m,nr_inodes=6")
    assert done.code == 1
    assert f"{tmp_path}/disk (tmpfs) has no room for another file" in done.said


def test_a_store_that_is_read_only(on_disk: Callable[..., Outcome], tmp_path: Path) -> None:
    pull = ("images", "pull", "--udss-store", "disk/store", "busybox:1.36")
    done = on_disk("cwl-udss", *pull, mode="ro")
    assert done.code == 1
    assert f"{tmp_path}/disk (tmpfs) is mounted read-only" in done.said


def test_where_a_step_works(on_disk: Callable[..., Outcome], tmp_path: Path, writer: str) -> None:
    done = on_disk("cwltool", "--udss", "--tmp-outdir-prefix", "disk/", writer)
    assert done.code == 1
    assert f"{tmp_path}/disk (tmpfs) has 0 bytes free, and it works there" in done.said


def test_where_inputs_are_staged(on_disk: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(5 << 20))
    listing = {"listing": [{"entry": "$(inputs.file)", "writable": True}]}
    write(
        tmp_path / "stage.cwl",
        baseCommand="true",
        inputs={"file": "File"},
        outputs={},
        requirements={"InitialWorkDirRequirement": listing},
    )
    done = on_disk("cwltool", "--udss", "--tmp-outdir-prefix=disk/", "stage.cwl", "--file=large")
    assert done.code == 1
    assert "its inputs cannot be staged: " in done.said
    assert f"large: No space left on device ({tmp_path}/disk (tmpfs) has" in done.said
    assert "--udss-scratch names another place" in done.said
    assert done.left == []


@pytest.mark.parametrize("mode", ["rw", "ro"])
def test_the_output_directory(
    on_disk: Callable[..., Outcome], tmp_path: Path, writer: str, mode: str
) -> None:
    done = on_disk("cwltool", "--udss", "--outdir", "disk", writer, mode=mode)
    assert done.code == 1
    assert f"the outputs cannot be put into {tmp_path}/disk: " in done.said
    assert f"{tmp_path}/disk (tmpfs) " in done.said
    assert "name another directory with --outdir" in done.said
    assert "Traceback" not in done.said
    assert done.left == []


def test_an_input_that_is_an_output(on_disk: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(5 << 20))
    passed = {"out": {"type": "File", "outputSource": "file"}}
    workflow = {"cwlVersion": "v1.2", "class": "Workflow", "steps": {}, "outputs": passed}
    (tmp_path / "pass.cwl").write_text(json.dumps({**workflow, "inputs": {"file": "File"}}))
    done = on_disk("cwltool", "--udss", "--outdir", "disk", "pass.cwl", "--file=large")
    assert done.code == 1
    assert f"the outputs cannot be put into {tmp_path}/disk: " in done.said
    assert done.left == []


def test_where_images_are_exported(on_disk: Callable[..., Outcome], tmp_path: Path) -> None:
    export = ("images", "export", "disk/images.tar", DEBIAN)
    assert on_disk("cwl-udss", "images", "pull", DEBIAN).code == 0
    done = on_disk("cwl-udss", *export)
    assert done.code == 1
    assert "the images cannot be written: disk/images.tar: No space left on device" in done.said
    assert f"({tmp_path}/disk (tmpfs) has 3.1 MB free, which is not enough)" in done.said
    assert done.left == []
    assert on_disk("cwl-udss", *export, options="size=200m").left == ["disk/images.tar"]
