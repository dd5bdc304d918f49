# SPDX-License-Identifier: Apache-2.0
"""SquashFS files of programs that write them with other options than ours."""

from __future__ import annotations

import os
import random
import tarfile
from pathlib import Path

from foreign.workshop import Workshop, pack_squashfs

# What mksquashfs(1) is told. Each makes something of the format that the default does not.
OPTIONS: dict[str, tuple[str, ...]] = {
    "default": (),
    **{
        name: ("-comp", *name.split())
        for name in (
            *("gzip", "lz4", "lzma", "lzo", "xz", "zstd"),
            # These write options of the compressor behind the superblock.
            *("gzip -Xwindow-size 8", "gzip -Xstrategy huffman_only,fixed", "lz4 -Xhc"),
            *("lzo -Xalgorithm lzo1x_1", "xz -Xbcj x86", "xz -Xdict-size 50%"),
            "zstd -Xcompression-level 22",
        )
    },
    "smallest blocks": ("-b", "4K"),
    "largest blocks": ("-b", "1M"),
    "no fragments": ("-no-fragments",),
    "all in fragments": ("-always-use-fragments",),
    "inodes as they are": ("-noI",),
    "data as it is": ("-noD",),
    "fragments as they are": ("-noF",),
    "attributes as they are": ("-noX",),
    "nothing compressed": ("-no-compression",),
    "no attributes": ("-no-xattrs",),
    "no export table": ("-no-exports",),
    "no duplicates found": ("-no-duplicates",),
    "no holes": ("-no-sparse",),
    "no hard links": ("-no-hardlinks",),
    "no padding": ("-nopad",),
    "owned by root": ("-all-root",),
    "large owners": ("-force-uid", "4000000000", "-force-gid", "70000"),
    "old": ("-all-time", "1", "-mkfs-time", "1"),
    "behind others' data": ("-offset", "4096"),
}
# Devices, a fifo and a socket, which nobody but root may make: mksquashfs(1), "pseudo files".
SPECIAL_FILES = """\
/null c 666 0 0 1 3
/disk b 660 0 6 259 70000
/fifo i 600 0 0 f
/socket i 600 0 0 s
/owned d 2750 1000 2000
/owned/made f 4755 1000 2000 echo made
"""


def tree(workshop: Workshop) -> Path:
    """The directory that all of these are made of: whatever an ordinary user can make.

    Files of many blocks, of one, of none and of a tail; with holes; twice the same; hard links, in
    one directory and in two; names that are not ASCII and not UTF-8; many names in one directory;
    modes and times; attributes, some of them the same.
    """
    return workshop.keep("tree", _make_tree)


def _make_tree(root: Path) -> None:
    root.mkdir()
    chance = random.Random(0)
    text = b"".join(b"%x " % chance.getrandbits(64) for _ in range(1 << 15))  # some 540 KiB
    contents = {
        "empty": b"",
        "small": b"small\n",
        "one-block": text[: 128 << 10],
        "one-block-and-a-tail": text[: 130 << 10],
        "many-blocks": text * 2,
        "the-same-blocks": text * 2,
        "incompressible": chance.randbytes(300_000),
        "directory/inner/deep": b"deep\n",
        "name with space, \u00fcmlaut": b"name\n",
        "bin/set-id": b"#!/bin/sh\n",
    }
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    Path(os.fsdecode(os.fsencode(root) + b"/not-utf-8-\xff")).write_bytes(b"bytes\n")
    with (root / "holes").open("wb") as file:
        file.seek(3 << 20)
        file.write(b"after the hole")
        file.truncate(8 << 20)
    with (root / "only-a-hole").open("wb") as file:
        file.truncate(1 << 20)
    (root / "crowd").mkdir()
    for number in range(1000):
        # Of more names than one header of a directory table may have (256), with an index.
        (root / "crowd" / f"file-with-a-rather-long-name-{number:04}").write_text(f"{number}\n")
    (root / "no-entries").mkdir()
    (root / "link").symlink_to("small")
    (root / "dangling").symlink_to("/nowhere/" + "x" * 200)
    (root / "hard").hardlink_to(root / "small")
    (root / "directory/hard").hardlink_to(root / "small")
    os.mkfifo(root / "pipe")
    os.setxattr(root / "small", "user.one", b"value")
    os.setxattr(root / "many-blocks", "user.one", b"value")
    os.setxattr(root / "directory", "user.long", b"long " * 200)
    (root / "bin/set-id").chmod(0o4755)
    (root / "no-entries").chmod(0o1777)
    os.utime(root / "empty", (1, 1))
    os.utime(root / "small", (4_000_000_000, 4_000_000_000))


def mksquashfs(workshop: Workshop, name: str = "default") -> Path:
    """The tree packed by mksquashfs with the options of a name in OPTIONS."""
    return workshop.squashfs(f"{name}.sqfs", tree(workshop), *OPTIONS[name])


def mksquashfs_with_special_files(workshop: Workshop) -> Path:
    """A SquashFS with SPECIAL_FILES and nothing else."""

    def make(path: Path) -> None:
        (path.parent / "empty").mkdir()
        pseudo = [word for line in SPECIAL_FILES.splitlines() for word in ("-p", line)]
        pack_squashfs(workshop.sid, path.parent / "empty", path, *pseudo)

    return workshop.keep("special.sqfs", make)


def tar2sqfs(workshop: Workshop, compression: str = "xz") -> Path:
    """The tree packed by tar2sqfs of squashfs-tools-ng, which is no relation of mksquashfs.

    By lz4 it stores 4 bytes of owners as a compressed block of 5: unsquashfs (4.7.5) takes that for
    damage, rdsquashfs does not (versions 1.2.0 and 1.3.2).
    """
    pack = ["tar2sqfs", "--quiet", "--compressor", compression]
    return workshop.keep(f"tar2sqfs-{compression}.sqfs", lambda path: _pack(workshop, pack, path))


def sqfstar(workshop: Workshop) -> Path:
    """The tree packed by sqfstar, which is mksquashfs on an archive."""
    pack = ["sqfstar", "-no-progress"]
    return workshop.keep("sqfstar.sqfs", lambda path: _pack(workshop, pack, path))


def _pack(workshop: Workshop, command: list[str], path: Path) -> None:
    archive = path.parent / "tree.tar"
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(tree(workshop), ".")
    workshop.sid.run(*command, path, stdin=archive)
