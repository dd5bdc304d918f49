# SPDX-License-Identifier: Apache-2.0
"""Reads SquashFS images with what others read them with, and says what is in a directory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import NamedTuple

import pytest
from needs import need

from cwl_udss.images.formats.directory import DirectorySink
from cwl_udss.images.formats.squashfs.reader import read_squashfs
from cwl_udss.images.formats.squashfs.tables import readable_by_all
from cwl_udss.images.trees.contents import write_tree

Reader = Callable[[Path, Path], AbstractContextManager[Path]]


class Facts(NamedTuple):
    """What can be said of a path; of directories the size and the number of links differ."""

    kind: str
    mode: int
    mtime: int
    size: int
    content: str
    attributes: dict[str, bytes]
    same_as: str
    """Of a file the first path of the same inode."""


def snapshot(root: Path) -> dict[str, Facts]:
    """Facts of all paths, the root as "."."""
    inodes: dict[int, str] = {}
    paths = [root, *sorted(root.rglob("*"), key=os.fsencode)]
    return {str(path.relative_to(root)): _facts(path, root, inodes) for path in paths}


def _facts(path: Path, root: Path, inodes: dict[int, str]) -> Facts:
    status = path.lstat()
    name = str(path.relative_to(root))
    kind = {stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFREG: "file"}.get(
        stat.S_IFMT(status.st_mode), "special"
    )
    content = ""
    if kind == "link":
        content = os.readlink(path)
    elif kind == "file":
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return Facts(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        mtime=int(status.st_mtime),
        size=0 if kind == "directory" else status.st_size,
        content=content,
        attributes={
            attribute: os.getxattr(path, attribute, follow_symlinks=False)
            for attribute in os.listxattr(path, follow_symlinks=False)
            if attribute.startswith("user.")
        },
        same_as=inodes.setdefault(status.st_ino, name) if kind == "file" else name,
    )


def as_in_squashfs(found: dict[str, Facts]) -> dict[str, Facts]:
    """What the directory sink has written, with the permissions that SquashFS images have."""
    return {
        path: facts if facts.kind == "link" else facts._replace(mode=readable_by_all(facts.mode))
        for path, facts in found.items()
    }


@contextlib.contextmanager
def unsquashfs(image: Path, scratch: Path) -> Iterator[Path]:
    """The image unpacked by squashfs-tools."""
    yield _unpack(
        "unsquashfs", "squashfs-tools", ["-q", "-n", "-d", scratch / "tree", image], scratch
    )


@contextlib.contextmanager
def rdsquashfs(image: Path, scratch: Path) -> Iterator[Path]:
    """The image unpacked by squashfs-tools-ng, which makes of hard links files of their own."""
    options = ["-q", "-C", "-T", "-X", "-u", "/", "-p", scratch / "tree", image]
    yield _unpack("rdsquashfs", "squashfs-tools-ng", options, scratch)


def _unpack(program: str, package: str, options: list[str | Path], scratch: Path) -> Path:
    _need_program(program, package)
    # unsquashfs leaves to the umask what it makes with the right mode at once.
    done = subprocess.run([program, *options], capture_output=True, check=False, umask=0)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return scratch / "tree"


@contextlib.contextmanager
def squashfuse(image: Path, scratch: Path) -> Iterator[Path]:
    """The image mounted by squashfuse, as an ordinary user can."""
    _need_program("squashfuse_ll", "squashfuse")
    _need_program("fusermount3", "fuse3")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        need("needs /dev/fuse")
    mounted = scratch / "tree"
    mounted.mkdir()
    with subprocess.Popen(["squashfuse_ll", "-f", image, mounted]) as process:
        try:
            deadline = time.monotonic() + 10
            while not mounted.is_mount():
                assert process.poll() is None, "squashfuse_ll refuses the image"
                assert time.monotonic() < deadline, "squashfuse_ll does not mount"
                time.sleep(0.01)
            yield mounted
        finally:
            process.terminate()  # it unmounts
            try:
                process.wait(10)
            finally:
                if mounted.is_mount():
                    subprocess.run(["fusermount3", "-u", "-z", mounted], check=True)
                process.kill()


@contextlib.contextmanager
def kernel(image: Path, scratch: Path) -> Iterator[Path]:
    """The image mounted by the kernel, which only root may ask for."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    mounted = scratch / "tree"
    mounted.mkdir()
    options = ["-t", "squashfs", "-o", "loop,ro", image, mounted]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        if (
            "squashfs" in Path("/proc/filesystems").read_text()
            and Path("/dev/loop-control").exists()
        ):
            pytest.fail("the kernel refuses the image")
        pytest.skip("the kernel has no loop devices or no SquashFS")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True)


@contextlib.contextmanager
def ours(image: Path, scratch: Path) -> Iterator[Path]:
    """The image unpacked as on a node that has none of the above."""
    with (
        tempfile.TemporaryDirectory(dir=scratch) as work,
        closing(DirectorySink(scratch / "tree", Path(work, "contents"))) as sink,
    ):
        write_tree(*read_squashfs(image), sink)
    yield scratch / "tree"


READERS: list[Reader] = [unsquashfs, rdsquashfs, squashfuse, kernel, ours]


def _need_program(program: str, package: str) -> None:
    if shutil.which(program) is None:
        need(f"needs the Debian package {package}")
