# SPDX-License-Identifier: Apache-2.0
"""Where a sandbox's command can write besides its binds: into memory, over its root filesystem."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.mounts import plan_mounts
from cwl_udss.runtimes.operations import (
    MakeDirectory,
    MountBind,
    MountFile,
    MountOverlay,
    MountSpecial,
    MountTmpfs,
    Operation,
    RemountReadOnly,
    WriteFile,
)
from cwl_udss.sandbox import Bind, Memory, RootFilesystem, Sandbox


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    for name in ("usr", "etc"):
        (made / name).mkdir(parents=True)
    (made / "leads-out").symlink_to("/etc")
    return made


def plan(
    root: Path,
    *binds: Bind,
    working_directory: str = "/usr",
    memory: tuple[Memory, ...] = (),
    files: dict[str, bytes] | None = None,
) -> tuple[Operation, ...]:
    return plan_mounts(
        Sandbox(
            root=RootFilesystem(path=root),
            command=("true",),
            environment={},
            working_directory=working_directory,
            binds=binds,
            memory=memory,
            files=files or {},
            writable_root=True,
        )
    )


def test_mount_points_are_made_over_the_image_and_not_in_it(root: Path, tmp_path: Path) -> None:
    operations = plan(root, Bind(source=str(tmp_path), destination="/deep/down"))
    assert operations[0] == MountOverlay("/", str(root))
    assert MountBind("/deep/down", str(tmp_path), False, True) in operations
    assert not any(isinstance(operation, RemountReadOnly) for operation in operations)
    assert not (root / "deep").exists()


def test_links_of_the_image_are_followed_inside_it(root: Path, tmp_path: Path) -> None:
    operations = plan(root, Bind(source=str(tmp_path), destination="/leads-out/here"))
    assert MountBind("/etc/here", str(tmp_path), False, True) in operations


def test_a_working_directory_is_made_if_it_can_be(root: Path, tmp_path: Path) -> None:
    assert not any(isinstance(operation, MakeDirectory) for operation in plan(root))
    assert plan(root, working_directory="/new/one")[-1] == MakeDirectory("/new/one")
    bind = Bind(source=str(tmp_path), destination="/data")
    with pytest.raises(SandboxError, match="/data is read-only"):
        plan(root, bind, working_directory="/data/none")


def test_memory_that_is_written_to_stays_so(root: Path) -> None:
    operations = plan(root, memory=(Memory(path="/mem", size_bytes=1 << 20),))
    assert MountTmpfs("/mem", True, 1 << 20) in operations
    assert RemountReadOnly("/mem") not in operations


def test_files_can_be_written_to_where_the_root_can(root: Path, tmp_path: Path) -> None:
    own = Bind(source=str(tmp_path), destination="/data", writable=True)
    operations = plan(root, own, files={"/etc/passwd": b"one", "/data/file": b"other"})
    assert WriteFile("/etc/passwd", b"one") in operations
    assert MountFile("/data/file", b"other") in operations  # which is the host's


def test_a_mount_in_shared_memory_comes_after_that(root: Path, tmp_path: Path) -> None:
    bind = Bind(source=str(tmp_path), destination="/dev/shm/work")
    operations = plan(root, bind)
    made = MountBind("/dev/shm/work", str(tmp_path), False, True)
    assert operations.index(made) > operations.index(MountSpecial("/dev"))
    with pytest.raises(SandboxError, match="cannot be made in /dev"):
        plan(root, Bind(source=str(tmp_path), destination="/dev/other"))
