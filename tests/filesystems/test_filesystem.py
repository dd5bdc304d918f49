# SPDX-License-Identifier: Apache-2.0
"""Which filesystem a path is on, and what follows from that."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cwl_udss.filesystems.filesystem import (
    Kind,
    classify,
    find_mount,
    look_at,
    parse_mountinfo,
    try_abilities,
)

MOUNTINFO = rb"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro
23 22 0:21 / /proc rw,nosuid,nodev,noexec - proc proc rw
30 22 0:30 / /dev/shm rw,nosuid,nodev shared:4 - tmpfs tmpfs rw,size=16384k
40 22 0:40 / /lustre rw,nosuid,nodev shared:9 - lustre mgs@o2ib:/scratch rw,localflock
41 22 0:41 / /home rw,relatime shared:10 - autofs auto.home rw,fd=5
42 41 0:42 / /home/ann rw,nosuid,relatime shared:11 - nfs4 server:/ann rw,vers=4.2,local_lock=none
43 22 0:43 / /gpfs rw,relatime - gpfs gpfs0 rw
44 22 0:44 / /with\040space\011tab rw - fuse.sshfs ann@server:/ rw,user_id=1000
45 22 254:0 /srv/data /data rw,noexec - ext4 /dev/vda rw
46 22 0:46 / /data/over rw master:1 propagate_from:2 - overlay overlay rw,lowerdir=/a
47 22 0:47 / /data rw - tmpfs tmpfs rw
"""
MOUNTS = parse_mountinfo(MOUNTINFO)


@pytest.mark.parametrize(
    ("path", "device", "mount_point", "type_name"),
    [
        ("/", "254:0", "/", "ext4"),
        ("/usr/lib", "254:0", "/", "ext4"),
        ("/lustre", "0:40", "/lustre", "lustre"),
        ("/lustre/project/x", "0:40", "/lustre", "lustre"),
        ("/lustres", "254:0", "/", "ext4"),
        ("/home/ann/x", "0:42", "/home/ann", "nfs4"),
        ("/home/bob", "0:41", "/home", "autofs"),
        ("/with space\ttab/x", "0:44", "/with space\ttab", "fuse.sshfs"),
        pytest.param("/data/x", "0:47", "/data", "tmpfs", id="the later hides the earlier"),
        pytest.param("/data/over", "0:47", "/data", "tmpfs", id="and what is deeper"),
        pytest.param("/lustre/x", "0:99", "/lustre", "lustre", id="stat shows another device"),
    ],
)
def test_the_mount_of_a_path(path: str, device: str, mount_point: str, type_name: str) -> None:
    found = find_mount(MOUNTS, path, device)
    assert (found.mount_point, found.type_name) == (mount_point, type_name)


@pytest.mark.parametrize(
    ("magic", "type_name", "kind", "shared"),
    [
        (0x0BD00BD0, "lustre", Kind.LUSTRE, True),
        (0x6969, "nfs4", Kind.NFS, True),
        (0x6969, "autofs", Kind.NFS, True),
        (0x47504653, "gpfs", Kind.GPFS, True),
        (0x19830326, "beegfs", Kind.BEEGFS, True),
        (0x00C36400, "ceph", Kind.CEPH, True),
        (0x65735546, "fuse.ceph-fuse", Kind.CEPH, True),
        (0x65735546, "fuse.sshfs", Kind.FUSE, True),
        (0x65735546, "fuse.unheard-of", Kind.FUSE, True),
        (0x65735546, "fuse.fuse-overlayfs", Kind.FUSE, False),
        (0xFF534D42, "cifs", Kind.NETWORK, True),
        (0xEF53, "ext4", Kind.LOCAL, False),
        (0x58465342, "xfs", Kind.LOCAL, False),
        (0x794C7630, "overlay", Kind.LOCAL, False),
        (0x01021994, "tmpfs", Kind.TMPFS, False),
    ],
)
def test_kinds(tmp_path: Path, magic: int, type_name: str, kind: Kind, shared: bool) -> None:
    assert classify(magic, type_name) is kind
    found = replace(look_at(tmp_path), kind=kind, type_name=type_name)
    assert found.is_shared is shared


@pytest.mark.parametrize(
    ("path", "device", "locks", "no_programs"),
    [("/lustre", "0:40", "localflock", False), ("/proc", "0:21", None, True)],
)
def test_options(
    tmp_path: Path, path: str, device: str, locks: str | None, no_programs: bool
) -> None:
    found = replace(look_at(tmp_path), options=find_mount(MOUNTS, path, device).options)
    assert found.lock_option == locks
    assert found.forbids_programs is no_programs


def test_memory_is_not_shared_and_is_found_before_it_is_there() -> None:
    found = look_at(Path("/dev/shm/not/yet/there"))
    assert found.path == Path("/dev/shm")
    assert (found.kind, found.type_name, found.mount_point) == (Kind.TMPFS, "tmpfs", "/dev/shm")
    assert found.free_bytes > 0
    assert not found.is_shared


def test_trying_leaves_nothing(tmp_path: Path) -> None:
    abilities = try_abilities(tmp_path)
    assert abilities.hard_links
    assert os.listdir(tmp_path) == []


def test_trying_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        try_abilities(tmp_path / "gone")
