# SPDX-License-Identifier: Apache-2.0
"""SquashFS files as others make them: a tree with what a reader could trip over, by each of their
options."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from needs import need

BLOCK = 128 << 10
COMPRESSIONS = ["gzip", "xz", "lzo", "lz4", "zstd"]
SPECIAL_FILES = ["null c 666 0 0 1 3", "whiteout c 0 0 0 0 0", "disk b 660 0 0 8 0"]


class Variant(NamedTuple):
    """How an image is made."""

    name: str
    options: list[str]
    offset: int = 0


VARIANTS = [
    Variant("defaults", []),
    *(Variant(name, ["-comp", name]) for name in COMPRESSIONS),
    Variant("gzip-windows-and-strategies", ["-Xwindow-size", "8", "-Xstrategy", "huffman_only"]),
    Variant("xz-filters", ["-comp", "xz", "-Xbcj", "x86,arm,armthumb,powerpc,sparc,ia64"]),
    Variant("xz-dictionary", ["-comp", "xz", "-Xdict-size", "8K"]),
    *(
        Variant(f"lzo-{name}", ["-comp", "lzo", "-Xalgorithm", name])
        for name in ("lzo1x_1", "lzo1x_1_11", "lzo1x_1_12", "lzo1x_1_15")
    ),
    Variant("lz4-high", ["-comp", "lz4", "-Xhc"]),
    Variant("smallest-blocks", ["-b", "4K"]),
    Variant("largest-blocks", ["-b", "1M"]),
    Variant("largest-blocks-xz", ["-b", "1M", "-comp", "xz"]),
    Variant("nothing-compressed", ["-noI", "-noD", "-noF", "-noX"]),
    Variant("inodes-uncompressed", ["-noI"]),
    Variant("data-uncompressed", ["-noD"]),
    Variant("fragments-uncompressed", ["-noF"]),
    Variant("attributes-uncompressed", ["-noX"]),
    Variant("no-fragments", ["-no-fragments"]),
    Variant("tails-of-all-in-fragments", ["-always-use-fragments"]),
    Variant("holes-as-data", ["-no-sparse"]),
    Variant("no-export-table", ["-no-exports"]),
    Variant("duplicates", ["-no-duplicates"]),
    Variant("no-hard-links", ["-no-hardlinks"]),
    Variant("no-attributes", ["-no-xattrs"]),
    Variant("no-padding", ["-nopad"]),
    Variant("owners", ["-force-uid", "1234", "-force-gid", "4321"]),
    Variant("behind-a-line", [], 31),
    Variant("behind-a-header", ["-comp", "zstd"], 36864),
    Variant("far-behind", ["-comp", "lzo"], (1 << 20) + 1),
]


def noise(size: int) -> bytes:
    """What cannot be compressed."""
    return random.Random(size).randbytes(size)


def text(size: int) -> bytes:
    """What can be compressed."""
    return (b"".join(b"line %d of a file\n" % n for n in range(size // 15 + 1)))[:size]


def make_tree(root: Path) -> Path:
    """A tree with what a reader could trip over."""
    for name in ("sizes", "many", "empty", "modes", "attributes", "names", "links", "deep", "to"):
        (root / name).mkdir(parents=True)
    for size in (0, 1, 4095, 4096, 4097, 8192, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 2_500_000):
        for what in (text, noise, bytes):
            (root / f"sizes/{what.__name__}{size}").write_bytes(what(size))
    shutil.copy(root / "sizes/noise131073", root / "sizes/the same again")
    shutil.copy(sys.executable, root / "program")  # what xz' filters are for
    for number in range(1500):
        (root / f"many/{number:05}-{'x' * 60}").write_bytes(b"%d" % (number % 50))
    for mode in (0o400, 0o444, 0o644, 0o666, 0o777, 0o4755):
        (root / f"modes/{mode:o}").write_bytes(b"")
        (root / f"modes/{mode:o}").chmod(mode)
    for mode in (0o700, 0o777, 0o1777, 0o2755):
        (root / f"modes/d{mode:o}").mkdir()
        (root / f"modes/d{mode:o}").chmod(mode)
    _add_sparse(root / "holes", [5, BLOCK * 3, BLOCK * 9 - 1], 20 * BLOCK + 7)
    _add_sparse(root / "only a hole", [], 5 * BLOCK)
    _add_sparse(root / "a hole at the end", [0], 3 * BLOCK)
    _add_attributes(root / "attributes")
    for bytes_name in (b"a\nb", b"-rf", "ä".encode(), b"\xff", b"n" * 255, b" ", b"\\"):
        Path(os.fsdecode(os.fsencode(root / "names") + b"/" + bytes_name)).write_bytes(bytes_name)
    (root / "links/dangling").symlink_to("../nowhere")
    (root / "links/long").symlink_to("a/" * 2000)
    for name, target in {
        "relative": "../sizes/text1",
        "absolute": "/sizes/text1",
        "the root's parent": "../../../../sizes/text1",
        "a directory": "/sizes/",
        "round": "round",
    }.items():
        (root / "to" / name).symlink_to(target)
    os.link(root / "sizes/text131073", root / "links/hard")
    os.link(root / "links/dangling", root / "links/hard link to a link", follow_symlinks=False)
    deep = root / "deep"
    for _ in range(40):
        deep = deep / "d"
        deep.mkdir()
        (deep / "f").write_text("deep")
    os.mkfifo(root / "pipe")
    os.utime(root / "empty", (1, 77))
    return root


def _add_sparse(path: Path, places: list[int], size: int) -> None:
    with path.open("wb") as stream:
        for place in places:
            stream.seek(place)
            stream.write(b"0123456789")
        stream.truncate(size)


def _add_attributes(directory: Path) -> None:
    """Some in many sets: all but the first are written as references to it."""
    for number in range(60):
        path = directory / str(number)
        path.write_bytes(b"")
        try:
            os.setxattr(path, "user.same", b"the same long value in many sets" * 10)
            os.setxattr(path, "user.own", b"%d" % (number % 40))
            os.setxattr(path, "user.overlay.redirect", b"x")
        except OSError:
            return  # a tmpfs of an older Linux
    os.setxattr(directory, "user.long", b"x" * 3000)
    os.setxattr(directory / "0", "user.empty", b"")


def mksquashfs(tree: Path, image: Path, variant: Variant) -> None:
    """Make an image as squashfs-tools do."""
    _need_program("mksquashfs", "squashfs-tools")
    options = ["-noappend", "-quiet", "-no-progress", "-processors", "1", *variant.options]
    for special in SPECIAL_FILES:
        options += ["-p", special]
    if variant.offset:
        options += ["-offset", str(variant.offset)]
    subprocess.run(["mksquashfs", tree, image, *options], check=True, capture_output=True)


def tar2sqfs(tree: Path, image: Path, options: list[str]) -> None:
    """Make an image as squashfs-tools-ng do."""
    _need_program("tar2sqfs", "squashfs-tools-ng")
    packed = image.with_suffix(".tar")
    with tarfile.open(packed, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(tree, ".", filter=_with_attributes(tree))
    with packed.open("rb") as stream:
        done = subprocess.run(["tar2sqfs", "-q", "-f", *options, image], stdin=stream, check=False)
    packed.unlink()
    assert done.returncode == 0


def _with_attributes(tree: Path) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    def add(member: tarfile.TarInfo) -> tarfile.TarInfo:
        path = tree / member.name
        for name in os.listxattr(path, follow_symlinks=False):
            value = os.getxattr(path, name, follow_symlinks=False)
            member.pax_headers[f"SCHILY.xattr.{name}"] = value.decode()
        return member

    return add


def _need_program(program: str, package: str) -> None:
    if shutil.which(program) is None:
        need(f"needs the Debian package {package}")
