# SPDX-License-Identifier: Apache-2.0
"""What a plan of mounts does with images and destinations, friendly and hostile."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.mounts import plan_mounts
from cwl_udss.runtimes.operations import (
    MakeSymlink,
    MountBind,
    MountFile,
    MountTmpfs,
    Operation,
    RemountReadOnly,
)
from cwl_udss.sandbox import Bind, RootFilesystem, Sandbox


@pytest.fixture
def image(tmp_path: Path) -> Path:
    root = tmp_path / "image"
    for directory in (
        *("etc", "usr/bin", "usr/lib", "opt/tool", "var/lib/cwl"),
        *("tmp", "proc", "sys", "dev"),
    ):
        (root / directory).mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    (root / "opt/file").write_text("")
    (root / "bin").symlink_to("usr/bin")
    return root


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    (tmp_path / "host/input").write_text("data")
    return tmp_path / "host"


def plan(
    root: Path,
    *binds: tuple[Path, str, bool],
    files: dict[str, bytes] | None = None,
    directories: tuple[str, ...] = (),
) -> tuple[Operation, ...]:
    return plan_mounts(
        Sandbox(
            root=RootFilesystem(path=root),
            command=("true",),
            environment={},
            working_directory="/",
            binds=tuple(
                Bind(source=str(source), destination=destination, writable=writable)
                for source, destination, writable in binds
            ),
            files=files or {},
            directories=directories,
        )
    )


def mounted(operations: tuple[Operation, ...]) -> dict[str, Operation]:
    return {
        operation.path: operation
        for operation in operations
        if not isinstance(operation, RemountReadOnly)
    }


def bound(path: str, source: Path, *, writable: bool = False) -> MountBind:
    return MountBind(path, str(source), writable, is_directory=True)


def test_the_root_is_the_image(image: Path) -> None:
    assert mounted(plan(image))["/"] == bound("/", image)


def test_a_mount_point_missing_in_the_root_makes_it_the_entries_one_by_one(
    image: Path, host: Path
) -> None:
    operations = mounted(plan(image, (host, "/work", True)))
    assert "/" not in operations
    assert operations["/usr"] == bound("/usr", image / "usr")
    assert operations["/bin"] == MakeSymlink("/bin", "usr/bin")


def test_the_root_and_every_opened_directory_end_read_only(image: Path, host: Path) -> None:
    operations = plan(image, (host, "/opt/new/place", True), directories=("/var/lib/cwl",))
    assert {o.path for o in operations if isinstance(o, RemountReadOnly)} == {
        "/opt",
        "/var/lib/cwl",
    }
    first_remount = next(n for n, o in enumerate(operations) if isinstance(o, RemountReadOnly))
    assert all(isinstance(o, RemountReadOnly) for o in operations[first_remount:])


def test_a_missing_mount_point_is_made_outside_the_image(image: Path, host: Path) -> None:
    operations = mounted(plan(image, (host, "/opt/new/place", True)))
    assert operations["/opt"] == MountTmpfs("/opt")
    assert operations["/opt/tool"] == bound("/opt/tool", image / "opt/tool")
    assert operations["/opt/new/place"] == bound("/opt/new/place", host, writable=True)
    assert sorted(path.name for path in (image / "opt").iterdir()) == ["file", "tool"]


@pytest.mark.parametrize(
    ("link", "text"),
    [
        ("data", "/oldroot/{victim}"),
        ("data", "../../../../../../../../oldroot/{victim}"),
        ("data", "{victim}"),
        ("data", "/proc/self/root/{victim}"),
    ],
)
def test_an_images_link_never_leads_a_mount_to_the_host(
    image: Path, host: Path, tmp_path: Path, link: str, text: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (image / link).symlink_to(text.format(victim=victim))
    if "/proc/" in text:
        with pytest.raises(SandboxError):
            plan(image, (host, f"/{link}/new", True))
    else:
        (destination,) = (
            path
            for path, operation in mounted(plan(image, (host, f"/{link}/new", True))).items()
            if operation == bound(path, host, writable=True)
        )
        # Below the image's root, where the link leads for a process in the sandbox.
        assert destination.endswith("victim/new")
    assert list(victim.iterdir()) == []


def test_a_file_over_a_link_lands_where_the_link_leads_inside(image: Path) -> None:
    (image / "etc/hosts").symlink_to("/opt/file")
    operations = mounted(plan(image, files={"/etc/hosts": b"x"}))
    assert operations["/opt/file"] == MountFile("/opt/file", b"x")
    assert "/etc/hosts" not in operations


def test_links_that_go_round_are_an_error(image: Path, host: Path) -> None:
    (image / "a").symlink_to("b")
    (image / "b").symlink_to("a")
    with pytest.raises(SandboxError, match="symbolic links"):
        plan(image, (host, "/a/x", True))


@pytest.mark.parametrize("destination", ["/", "relative", "", "/dev", "/proc/x", "/sys/fs", "/.."])
def test_impossible_destinations_are_refused(image: Path, host: Path, destination: str) -> None:
    with pytest.raises(SandboxError):
        plan(image, (host, destination, True))


def test_what_the_image_has_in_the_way_is_replaced(image: Path, host: Path) -> None:
    operations = mounted(plan(image, (host, "/opt/file/deeper", True)))
    assert operations["/opt"] == MountTmpfs("/opt")
    assert "/opt/file" not in operations
    assert "/opt/tool" in operations


def test_special_names_of_the_image_are_not_followed(image: Path) -> None:
    (image / "sys").rmdir()
    (image / "sys").symlink_to("/usr")
    (image / "proc").rmdir()
    (image / "proc").symlink_to("/etc")
    operations = mounted(plan(image))
    assert not any(isinstance(operations[path], MakeSymlink) for path in ("/sys", "/proc"))


def test_a_mount_point_in_a_writable_bind_is_made_there(image: Path, host: Path) -> None:
    operations = plan(image, (host, "/out", True), (host / "input", "/out/sub/input", False))
    assert (host / "sub/input").read_bytes() == b""
    paths = list(mounted(operations))
    assert paths.index("/out") < paths.index("/out/sub/input")


def test_a_link_in_a_writable_bind_is_not_followed(image: Path, host: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (host / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SandboxError, match="symbolic link"):
        plan(image, (host, "/out", True), (host / "input", "/out/sub/input", False))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_read_only_bind_gets_no_mount_point(image: Path, host: Path) -> None:
    (host / "input").rename(host / "other")
    with pytest.raises(SandboxError, match="nothing can be mounted"):
        plan(image, (host, "/in", False), (host / "other", "/in/new", False))


def test_inputs_in_a_staging_directory_leave_the_image_alone(image: Path, host: Path) -> None:
    operations = mounted(
        plan(image, (host / "input", "/var/lib/cwl/a/input", False), directories=("/var/lib/cwl",))
    )
    assert operations["/var/lib/cwl"] == MountTmpfs("/var/lib/cwl")
    assert list((image / "var/lib/cwl").iterdir()) == []


def test_a_mount_never_hides_another(image: Path, host: Path) -> None:
    """Where a link of the image would have led is not where a mount above lets it lead."""
    for directory in ("m", "z", "zz/top"):
        (image / directory).mkdir(parents=True)
    (image / "m/l").symlink_to("/z")
    (image / "m/k").symlink_to("/zz/top")
    for directory in ("l", "k"):
        (host / directory).mkdir()
    with pytest.raises(SandboxError, match="below it already"):
        plan(
            image,
            *((host, "/m", True), (host / "input", "/m/l/x", False), (host, "/m/k/../l", True)),
        )


def test_a_bind_takes_the_place_of_a_link_in_a_directory_of_the_host(
    image: Path, host: Path
) -> None:
    (host / "d/sub").mkdir(parents=True)
    (host / "d/file").write_text("")
    (host / "d/sub/link").symlink_to("/etc/passwd")
    (host / "d/sub/other").symlink_to("../file")
    (host / "d/sub/file").write_text("")
    binds = [
        (host / "d", "/var/lib/cwl/d", False),
        (host / "input", "/var/lib/cwl/d/sub/link", False),
    ]
    operations = plan(image, *binds, directories=("/var/lib/cwl",))
    sub = "/var/lib/cwl/d/sub"
    found = mounted(operations)
    assert found["/var/lib/cwl/d"] == bound("/var/lib/cwl/d", host / "d")
    assert {path: x for path, x in found.items() if path.startswith(sub)} == {
        sub: MountTmpfs(sub),
        f"{sub}/file": MountBind(f"{sub}/file", f"{host}/d/sub/file", False, is_directory=False),
        f"{sub}/link": MountBind(f"{sub}/link", f"{host}/input", False, is_directory=False),
        f"{sub}/other": MakeSymlink(f"{sub}/other", "../file"),
    }
    assert RemountReadOnly(sub) in operations
    # Nor is a link followed that is on the way.
    with pytest.raises(SandboxError, match="is a symbolic link in a directory of the host"):
        plan(image, *binds[:1], (host / "input", "/var/lib/cwl/d/sub/link/x", False))


def test_a_link_that_a_step_may_write_to_is_no_mount_point(image: Path, host: Path) -> None:
    (host / "d").mkdir()
    (host / "d/link").symlink_to("/etc/passwd")
    binds = ((host / "d", "/tmp", True), (host / "input", "/tmp/link", False))
    with pytest.raises(SandboxError, match="is a symbolic link in a directory of the host"):
        plan(image, *binds)
