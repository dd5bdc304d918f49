# SPDX-License-Identifier: Apache-2.0
"""The SquashFS files of others are what their names say, and have the tree."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from foreign import squashfs_files
from foreign.sifs import COMPRESSIONS
from foreign.workshop import Workshop

# What unsquashfs says of the superblock of each.
SAID = {
    "default": "Compression gzip",
    **{name: f"Compression {name}" for name in COMPRESSIONS},
    "gzip -Xwindow-size 8": "\twindow-size 8",
    "gzip -Xstrategy huffman_only,fixed": "\tStrategies selected: huffman_only, fixed",
    "lz4 -Xhc": "\tHigh Compression option specified (-Xhc)",
    "lzo -Xalgorithm lzo1x_1": "\talgorithm lzo1x_1",
    "xz -Xbcj x86": "\tFilters selected: x86",
    "xz -Xdict-size 50%": "\tDictionary size 65536",
    "zstd -Xcompression-level 22": "\tcompression-level 22",
    "smallest blocks": "Block size 4096",
    "largest blocks": "Block size 1048576",
    "no fragments": "Fragments are not stored",
    "all in fragments": "Tailends are packed into fragments",
    "inodes as they are": "Inodes are uncompressed",
    "data as it is": "Data is uncompressed",
    "fragments as they are": "Fragments are uncompressed",
    "attributes as they are": "Xattrs are uncompressed",
    "nothing compressed": "Data is uncompressed",
    "no attributes": "Xattrs are not stored",
    "no export table": "Filesystem is not exportable via NFS",
    "no duplicates found": "Duplicates are not removed",
    "no holes": "Duplicates are removed",  # nothing in the superblock tells of it
    "no hard links": "Number of inodes 1024",
    "no padding": "Compression gzip",
    "owned by root": "Number of ids 1",
    "large owners": "Number of ids 2",
    "old": "Creation or last append time Thu Jan  1 00:00:01 1970",
    "behind others' data": "Compression gzip",
}


def unpacked(workshop: Workshop, image: Path, target: Path, *options: str) -> Path:
    unpack = ["unsquashfs", "-no-progress", "-quiet", *options, "-dest", target, image]
    workshop.sid.run(*unpack)
    return target


def files(root: Path) -> dict[str, bytes | None]:
    """All that is below a directory, and what is in its files."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        if stat.S_ISREG(path.lstat().st_mode)
        else None
        for path in root.rglob("*")
    }


@pytest.mark.parametrize("name", squashfs_files.OPTIONS)
def test_each_has_what_its_name_says(workshop: Workshop, name: str, tmp_path: Path) -> None:
    image = squashfs_files.mksquashfs(workshop, name)
    begin = ["-offset", "4096"] if name == "behind others' data" else []
    said = workshop.sid.run("unsquashfs", *begin, "-stat", image).stdout
    assert SAID[name] in said.splitlines()
    found = unpacked(workshop, image, tmp_path / "found", *begin)
    assert files(found) == files(squashfs_files.tree(workshop))


def test_only_one_is_not_of_full_pages(workshop: Workshop) -> None:
    sizes = {
        name: squashfs_files.mksquashfs(workshop, name).stat().st_size
        for name in squashfs_files.OPTIONS
    }
    assert [name for name, size in sizes.items() if size % 4096] == ["no padding"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_tar2sqfs_packs_the_same(workshop: Workshop, compression: str, tmp_path: Path) -> None:
    image = squashfs_files.tar2sqfs(workshop, compression)
    # Not by unsquashfs, which refuses the one of lz4.
    unpack = ["rdsquashfs", "--quiet", "--unpack-path", "/", "--unpack-root", tmp_path / "found"]
    workshop.sid.run(*unpack, image)
    assert files(tmp_path / "found") == files(squashfs_files.tree(workshop))


def test_tar2sqfs_makes_blocks_larger_by_lz4(workshop: Workshop) -> None:
    image = squashfs_files.tar2sqfs(workshop, "lz4")
    refused = workshop.sid.run("unsquashfs", "-ls", image, check=False)
    assert "failed to read id table block" in refused.stderr


def test_sqfstar_packs_the_same(workshop: Workshop, tmp_path: Path) -> None:
    found = unpacked(workshop, squashfs_files.sqfstar(workshop), tmp_path / "found")
    assert files(found) == files(squashfs_files.tree(workshop))


def test_the_tree_has_what_it_is_for(workshop: Workshop) -> None:
    tree = squashfs_files.tree(workshop)
    facts = {path.name: path.lstat() for path in tree.iterdir()}
    assert facts["small"].st_nlink == 3
    assert facts["holes"].st_blocks * 512 < facts["holes"].st_size
    assert os.getxattr(tree / "small", "user.one") == b"value"
    assert any("\udcff" in name for name in facts)
    assert {"pipe", "dangling", "no-entries"} <= facts.keys()


def test_special_files_are_in_it(workshop: Workshop) -> None:
    image = squashfs_files.mksquashfs_with_special_files(workshop)
    lines = workshop.sid.run("unsquashfs", "-llnumeric", image).stdout.splitlines()
    kinds = {line.split("squashfs-root")[1]: line.split()[:2] for line in lines if line}
    assert kinds["/null"] == ["crw-rw-rw-", "0/0"]
    assert kinds["/disk"] == ["brw-rw----", "0/6"]
    assert kinds["/fifo"] == ["prw-------", "0/0"]
    assert kinds["/socket"] == ["srw-------", "0/0"]
    assert kinds["/owned"] == ["drwxr-s---", "1000/2000"]
    assert kinds["/owned/made"] == ["-rwsr-xr-x", "1000/2000"]


def test_what_is_behind_others_data_begins_there(workshop: Workshop) -> None:
    image = squashfs_files.mksquashfs(workshop, "behind others' data")
    assert image.read_bytes()[4096:4100] == b"hsqs"
