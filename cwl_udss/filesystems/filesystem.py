# SPDX-License-Identifier: Apache-2.0
"""What a filesystem is, and what it can do: facts by two system calls, abilities by trying.

Nothing here decides whether anything is correct: that never depends on a lock, nor on these facts.
They choose where and how to put things, and tell the person what is slow or cannot work.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import errno
import fcntl
import os
import pwd
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from cwl_udss.records import record

FICLONE = 0x40049409  # ioctl_ficlone(2)


class Kind(enum.Enum):
    """Filesystems that differ in what they can be trusted with."""

    LUSTRE = "Lustre"
    NFS = "NFS"
    GPFS = "GPFS"
    BEEGFS = "BeeGFS"
    CEPH = "Ceph"
    NETWORK = "a network filesystem"
    FUSE = "FUSE"
    TMPFS = "tmpfs"
    LOCAL = "a local disk"


# f_type of statfs(2): that manual page, and for those outside of Linux their own sources.
_MAGIC = {
    0x0BD00BD0: Kind.LUSTRE,  # lustre_user.h, LL_SUPER_MAGIC
    0x6969: Kind.NFS,
    0x47504653: Kind.GPFS,  # "GPFS"
    0x19830326: Kind.BEEGFS,  # beegfs: FhgfsOpsSuper.h, BEEGFS_MAGIC
    0x00C36400: Kind.CEPH,
    0xFE534D42: Kind.NETWORK,  # SMB
    0xFF534D42: Kind.NETWORK,  # CIFS
    0x01021997: Kind.NETWORK,  # 9P
    0x5346414F: Kind.NETWORK,  # AFS
    0x6B414653: Kind.NETWORK,  # the kernel's AFS
    0x20030528: Kind.NETWORK,  # OrangeFS
    0xAAD7AAEA: Kind.NETWORK,  # PanFS
    0x65735546: Kind.FUSE,
    0x01021994: Kind.TMPFS,
    0x858458F6: Kind.TMPFS,  # ramfs
}
# FUSE filesystems by the type in mountinfo. One that is not named is taken for shared: with that
# mistake things are slow, with the other they are wrong.
_FUSE_KINDS = {
    "fuse.ceph": Kind.CEPH,
    "fuse.ceph-fuse": Kind.CEPH,
    "fuse.beegfs": Kind.BEEGFS,
}
_LOCAL_FUSE = frozenset(
    ("fuseblk", "fuse.fuse-overlayfs", "fuse.ntfs-3g", "fuse.bindfs", "fuse.ext2", "fuse.mergerfs")
)
_LOCK_OPTIONS = ("localflock", "noflock", "nolock", "local_lock=all", "local_lock=flock", "flock")


@record(frozen=True, kw_only=True)
class Mount:
    """A line of /proc/PID/mountinfo."""

    device: str
    """Its number, "major:minor"."""
    mount_point: str
    type_name: str
    options: frozenset[str]
    """Of the mount and of the filesystem."""


@record(frozen=True, kw_only=True)
class Filesystem:
    """What is known of the filesystem at a path without trying anything."""

    path: Path
    """The directory that was looked at: what was asked for, or the nearest above that there is."""
    kind: Kind
    type_name: str
    """As in mountinfo, "ext4" or "fuse.sshfs"."""
    mount_point: str
    options: frozenset[str]
    free_bytes: int
    """For an ordinary user; a quota may allow less."""
    free_inodes: int | None
    """None if it does not count them."""

    @property
    def is_shared(self) -> bool:
        """Whether other machines may change it, too."""
        if self.kind is Kind.FUSE:
            return self.type_name not in _LOCAL_FUSE
        return self.kind not in (Kind.LOCAL, Kind.TMPFS)

    @property
    def lock_option(self) -> str | None:
        """The option that says how locks behave, if there is one."""
        return next((option for option in _LOCK_OPTIONS if option in self.options), None)

    @property
    def forbids_programs(self) -> bool:
        """Whether no program there can be executed."""
        return "noexec" in self.options


@record(frozen=True, kw_only=True)
class Abilities:
    """What a filesystem can do, found by doing it."""

    hard_links: bool
    reflinks: bool
    unnamed_files: bool
    """O_TMPFILE of open(2)."""
    attributes: bool
    """Extended ones, `user.*`."""


def look_at(path: Path) -> Filesystem:
    """Return the facts about the filesystem where `path` is, or is going to be. Raises OSError."""
    existing = _existing(path.absolute())
    status = os.statvfs(existing)  # mounts it, if it is an automounter's
    device = os.stat(existing).st_dev
    mounts = parse_mountinfo(Path("/proc/self/mountinfo").read_bytes())
    mount = find_mount(mounts, os.path.realpath(existing), f"{os.major(device)}:{os.minor(device)}")
    return Filesystem(
        path=existing,
        kind=classify(_magic(existing), mount.type_name),
        type_name=mount.type_name,
        mount_point=mount.mount_point,
        options=mount.options,
        free_bytes=status.f_bavail * status.f_frsize,
        free_inodes=status.f_favail if status.f_files else None,
    )


def user_name(user_id: int) -> str:
    """Return who has a number, for messages: the name, and where nothing knows it the number."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:  # as with directory services of some sites on compute nodes
        return f"user {user_id}"


def owner_name(path: Path) -> str:
    """Return whose a file is, for messages."""
    try:
        return user_name(path.lstat().st_uid)
    except OSError:
        return "somebody else"


def classify(magic: int, type_name: str) -> Kind:
    """Return the kind by statfs(2)'s number, which is of what is there now (mountinfo may still
    have the automounter); of FUSE only mountinfo tells more."""
    kind = _MAGIC.get(magic, Kind.LOCAL)
    return _FUSE_KINDS.get(type_name, kind) if kind is Kind.FUSE else kind


def parse_mountinfo(content: bytes) -> list[Mount]:
    """Read what proc_pid_mountinfo(5) describes."""
    mounts = []
    for line in content.splitlines():
        before, _, after = line.partition(b" - ")
        fields, (type_name, _, super_options) = before.split(b" "), after.split(b" ", 2)
        mounts.append(
            Mount(
                device=fields[2].decode(),
                mount_point=_unescaped(fields[4]),
                type_name=type_name.decode(errors="replace"),
                options=frozenset(
                    (fields[5] + b"," + super_options).decode(errors="replace").split(",")
                ),
            )
        )
    return mounts


def find_mount(mounts: list[Mount], path: str, device: str) -> Mount:
    """Return the mount that `path`, without links, is in: the longest mount point, of several at
    one the last, which hides the others. With the device's number first: a mount over a parent may
    hide what lies deeper; but of btrfs and overlays stat(2) shows another number."""
    above = [
        mount for mount in mounts if f"{path}/".startswith(f"{mount.mount_point.rstrip('/')}/")
    ]
    candidates = [mount for mount in above if mount.device == device] or above
    return max(enumerate(candidates), key=lambda item: (len(item[1].mount_point), item[0]))[1]


def try_abilities(directory: Path) -> Abilities:
    """Try what the filesystem of a directory can do; leaves nothing there. Raises OSError if
    nothing can be written."""
    name = directory / f".cwl-udss.{secrets.token_hex(8)}"
    with _removed(name), _removed(Path(f"{name}.2")), open(name, "xb", buffering=0) as stream:
        stream.write(bytes(4096))
        return Abilities(
            hard_links=_works(lambda: os.link(name, f"{name}.2")),
            reflinks=_works(lambda: _clone(stream.fileno(), directory)),
            unnamed_files=_works(lambda: os.close(os.open(directory, os.O_TMPFILE | os.O_RDWR))),
            attributes=_works(lambda: os.setxattr(stream.fileno(), "user.cwl-udss", b"1")),
        )


@contextlib.contextmanager
def _removed(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _works(action: Callable[[], object]) -> bool:
    try:
        action()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return False
    return True


def _clone(descriptor: int, directory: Path) -> None:
    copy = directory / f".cwl-udss.{secrets.token_hex(8)}"
    with _removed(copy), open(copy, "xb") as stream:
        fcntl.ioctl(stream, FICLONE, descriptor)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _magic(path: Path) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    # struct statfs (statfs(2)) begins with f_type; the rest differs by machine.
    buffer = (ctypes.c_long * 256)()
    if library.statfs(os.fsencode(path), buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    return buffer[0] & 0xFFFFFFFF  # a negative one where it is 32 bits wide


def _unescaped(field: bytes) -> str:
    """A path, in which space, tab, newline and backslash are octal numbers."""
    plain = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field)
    return os.fsdecode(plain)
