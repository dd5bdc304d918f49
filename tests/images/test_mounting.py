# SPDX-License-Identifier: Apache-2.0
"""SquashFS images that are mounted on a node, and the sandboxes in them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import need

from cwl_udss.doors.container import can_write_root
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.locations import file_stamp
from cwl_udss.images.manifests.manifest import parse_config
from cwl_udss.images.node.mounter import MOUNTER
from cwl_udss.images.node.node import NodeImages
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.runtimes.choosing.table import RUNTIMES, Machine
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.sandbox import RootFilesystem, Sandbox, Streams

PROGRAMS = {"ch-run": "charliecloud", "crun": "crun", "runc": "runc"}


@pytest.fixture(scope="module")
def squashfs(busybox_root: Path, tmp_path_factory: pytest.TempPathFactory) -> StoredImage:
    if shutil.which(MOUNTER) is None or shutil.which("mksquashfs") is None:
        need("needs the Debian packages squashfuse and squashfs-tools")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse may not be used")
    path = tmp_path_factory.mktemp("squashfs") / "image.squashfs"
    subprocess.run(
        ["mksquashfs", busybox_root, path, "-quiet", "-no-progress", "-all-root"],
        check=True,
        capture_output=True,
    )
    return StoredImage(
        digest="",
        format=ImageFormat.SQUASHFS,
        path=path,
        stamp=file_stamp(path),
        config=parse_config(b"{}"),
        size=path.stat().st_size,
        entries=1,
        content="",
    )


def found(name: str, scratch: Path) -> PipedRuntime:
    if name in PROGRAMS and shutil.which(name) is None:
        need(f"needs the Debian package {PROGRAMS[name]}")
    return RUNTIMES[name].find(Machine(None, scratch, os.environ))


@contextlib.contextmanager
def images(runtime: PipedRuntime, tmp_path: Path, job: str) -> Iterator[NodeImages]:
    """What mounts images for a batch job, whose mounts are its own."""
    with NodeImages(
        Store(tmp_path / "store"),
        lambda: runtime,
        scratch=tmp_path,
        scratch_bytes=1 << 30,
        environment={**os.environ, "PBS_JOBID": job},
    ) as node:
        yield node


def check(runtime: PipedRuntime, root: RootFilesystem, tmp_path: Path) -> None:
    """Run a step, which is the caller's, in an image that is mounted and cannot be written to."""
    assert root.mounted_by is not None
    sandbox = Sandbox(
        root=root,
        command=("sh", "-c", "id -u; echo x >/new; cat /proc/mounts"),
        environment={"PATH": "/bin"},
        working_directory="/",
    )
    with (tmp_path / "said").open("w+b") as said:
        streams = Streams(stdout=said.fileno(), stderr=said.fileno())
        assert runtime.start(sandbox, streams).wait().exit_code == 0
        said.seek(0)
        lines = said.read().decode().splitlines()
    assert str(os.getuid()) in lines
    assert any("Read-only file system" in line for line in lines)
    assert any(line.split()[1:3] == ["/", "fuse.squashfuse_ll"] for line in lines)


@pytest.mark.parametrize("name", ["bwrap", "unshare", "ch-run", "crun", "runc"])
def test_a_step_is_where_its_image_is_mounted(
    name: str, squashfs: StoredImage, tmp_path: Path
) -> None:
    runtime = found(name, tmp_path)
    with images(runtime, tmp_path, name) as node:
        assert "mounted by" in node.describe()
        check(runtime, node.root(squashfs), tmp_path)


@pytest.mark.parametrize(("one", "other"), [("bwrap", "unshare"), ("unshare", "bwrap")])
def test_a_mount_that_another_runtime_has_made(
    one: str, other: str, squashfs: StoredImage, tmp_path: Path
) -> None:
    maker, user = found(one, tmp_path), found(other, tmp_path)
    with images(maker, tmp_path, one) as making, images(user, tmp_path, one) as using:
        made = making.root(squashfs)
        assert using.root(squashfs) == made
        check(user, made, tmp_path)


def test_a_container_can_write_over_its_image_where_that_is_mounted(
    squashfs: StoredImage, tmp_path: Path
) -> None:
    runtime = found("bwrap", tmp_path)
    with images(runtime, tmp_path, "written") as node:
        root = node.root(squashfs)
        assert root.mounted_by is not None
        assert can_write_root(runtime, root)
        sandbox = Sandbox(
            root=root,
            command=("sh", "-c", "echo new >/new && rm /bin/ls && ! test -e /bin/ls"),
            environment={"PATH": "/bin"},
            working_directory="/",
            writable_root=True,
        )
        assert runtime.start(sandbox, Streams(stdout=1, stderr=2)).wait().exit_code == 0
        assert not os.path.exists(f"{root.here}/new")
