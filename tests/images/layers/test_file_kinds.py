# SPDX-License-Identifier: Apache-2.0
"""Files that are given as images, and are none: each is called what it is."""

from __future__ import annotations

import bz2
import gzip
import shutil
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from needs import need
from tar_layers import directory, entry, file, tar

from cwl_udss.errors import DamagedImage, ImageError, InvalidImage
from cwl_udss.images.layers.compression import decompress
from cwl_udss.images.layers.file_kinds import LONGEST_BEGINNING, identify
from cwl_udss.images.sources.image_files import open_tar

lzma = pytest.importorskip("lzma")


def at(offset: int, magic: bytes) -> bytes:
    return bytes(offset) + magic


SIF = b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\00001\00002\0"
LAUNCH = b"#!/usr/bin/env run-singularity\n"


@pytest.mark.parametrize(
    ("beginning", "name"),
    [
        (SIF, "a SIF image (Apptainer's)"),
        (b"hsqs", "a SquashFS file"),
        (LAUNCH + b"hsqs", "an image of Singularity 2"),
        (LAUNCH, "no more than the beginning of an image of Apptainer's or Singularity's"),
        (SIF[:40], "no more than the beginning of an image of Apptainer's or Singularity's"),
        (LAUNCH + at(1080, b"\x53\xef"), "an image of Singularity 2 with ext3"),
        (at(1080, b"\x53\xef"), "an ext2, ext3 or ext4 filesystem"),
        (at(1024, b"\xe2\xe1\xf5\xe0"), "an EROFS filesystem"),
        (at(32769, b"CD001"), "an ISO 9660 filesystem"),
        (b"\x33\xed" + at(32767, b"CD001"), "an ISO 9660 filesystem"),
        (b"XFSB\0\0", "an XFS filesystem"),
        (at(65600, b"_BHRfS_M"), "a btrfs filesystem"),
        (at(510, b"\x55\xaaEFI PART"), "a disk with partitions"),
        (b"\xeb\x3c" + at(508, b"\x55\xaa"), "a disk, or the beginning of one"),
        (b"QFI\xfb\0\0\0\3", "a disk of a virtual machine (qcow2)"),
        (b"<<< Oracle VM VirtualBox Disk Image >>>\n", "a disk of a virtual machine (VDI)"),
        (b"conectix\0\0\0\2", "a disk of a virtual machine (VHD)"),
        (b"vhdxfile\0", "a disk of a virtual machine (VHDX)"),
        (b"\x45\x3d\xcd\x28\0", "a cramfs filesystem"),
        (b"DWARFS\2\5", "a DwarFS filesystem"),
        (b"-----BEGIN PGP MESSAGE-----\n\nhQEM", "an encrypted file"),
        (b"Salted__\1\2\3", "an encrypted file"),
        (b"LUKS\xba\xbe\0\2", "an encrypted disk (LUKS)"),
        (b"PK\x03\x04\x14", "a zip file"),
        (b"\x04\x22\x4d\x18\x64", "packed with lz4"),
        (b"\x02\x21\x4c\x18\x64", "packed with lz4"),
        (b"LZIP\1", "packed with lzip"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "a 7z file"),
        (b"Rar!\x1a\x07\1\0", "a rar file"),
        (b"0707010000A1B2", "a cpio archive"),
        (b"!<arch>\ndebian-binary   ", "a Debian package"),
        (b"\xed\xab\xee\xdb\3\0", "an RPM package"),
        (b"\x7fELF\2\1\1", "a program (ELF)"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d",
            "a pointer of Git LFS, not the file itself",
        ),
        (b"<!DOCTYPE html>\n<html>", "a web page"),
        (b"\n<HTML><title>Log in</title>", "a web page"),
        (b"#!/usr/bin/env cwl-runner\ncwlVersion: v1.2\nclass: Workflow\n", "a CWL document"),
        (b'{"class": "CommandLineTool", "cwlVersion": "v1.0"}', "a CWL document"),
        (b"\xef\xbb\xbf$graph: []\r\ncwlVersion: v1.2\r\n", "a CWL document"),
        (b"# syntax=docker/dockerfile:1\nARG A=1\n\n# b\nFROM debian:$A\n", "a Dockerfile"),
        (b"from debian\nrun true\n", "a Dockerfile"),
        (b"# ours\nBootstrap: docker\nFrom: debian\n", "a definition file (Apptainer's)"),
        (b"#!/bin/sh\nexec true\n", "a script"),
        (b'[{"Config": "x"}]', "JSON"),
        (b"image: debian\nfrom: x\n", "a text"),
        ("Größe: 7\n".encode(), "a text"),
    ],
)
def test_what_a_beginning_is_of(beginning: bytes, name: str) -> None:
    found = identify(beginning[:LONGEST_BEGINNING])
    assert found is not None
    assert found.name == name
    assert found.advice


@pytest.mark.parametrize("beginning", [b"\x01\x02noise" * 100, b"\xff\xfe\0", b"text\0with zeros"])
def test_nobody_knows_everything(beginning: bytes) -> None:
    assert identify(beginning) is None


def make_file(tmp_path: Path, *command: str | Path) -> None:
    program = shutil.which(str(command[0]), path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if program is None:
        need(f"needs the program {command[0]}")
    subprocess.run([program, *command[1:]], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("mke2fs", "-q", "-d", "root", "image", "1M"), "ext2, ext3 or ext4"),
        (("mke2fs", "-q", "-t", "ext4", "-d", "root", "image", "8M"), "ext2, ext3 or ext4"),
        (("mkfs.erofs", "image", "root"), "an EROFS filesystem"),
        (("genisoimage", "-quiet", "-R", "-o", "image", "root"), "an ISO 9660 filesystem"),
        (("lz4", "-q", "root.tar", "image"), "packed with lz4"),
        (("lz4", "-q", "-l", "root.tar", "image"), "packed with lz4"),
        (("truncate", "-s", "20K", "image"), "is a tar with nothing in it"),
        (("touch", "image"), "image is empty"),
    ],
)
def test_what_others_make(tmp_path: Path, command: tuple[str, ...], name: str) -> None:
    (tmp_path / "root/bin").mkdir(parents=True)
    (tmp_path / "root/bin/tool").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "root.tar").write_bytes(tar(file("a")))
    make_file(tmp_path, *command)
    with pytest.raises(InvalidImage, match=name) as raised:
        open_tar(tmp_path / "image", "image", tmp_path)
    assert "damaged" not in str(raised.value)


def lzma_alone(content: bytes) -> bytes:
    return lzma.compress(content, lzma.FORMAT_ALONE)


def zipped(content: bytes, tmp_path: Path) -> bytes:
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("root.tar", content)
    return (tmp_path / "zip").read_bytes()


def test_what_is_in_a_packed_file_is_named(tmp_path: Path) -> None:
    packed = gzip.compress(zipped(tar(file("a")), tmp_path))
    (tmp_path / "image").write_bytes(packed)
    with pytest.raises(InvalidImage, match=r"image is a zip file, in gzip, .*unzip FILE"):
        open_tar(tmp_path / "image", "image", tmp_path)
    (tmp_path / "twice").mkdir()
    (tmp_path / "image").write_bytes(bz2.compress(gzip.compress(tar(file("a")))))
    message = "image is packed with gzip, and that with bzip2: unpack it once: bzip2 -dc FILE >"
    with pytest.raises(InvalidImage, match=message):
        open_tar(tmp_path / "image", "image", tmp_path / "twice")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lzma_alone])
def test_what_is_packed_twice(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "image").write_bytes(gzip.compress(pack(tar(file("a")))))
    with pytest.raises(InvalidImage, match=r"packed with .*, and that with gzip"):
        open_tar(tmp_path / "image", "image", tmp_path)


@pytest.mark.parametrize(
    "name", ["{", "<html>", "]", "PK\x03\x04", "#!", "FROM x", "BZh" + "a" * 60 + "\udcff"]
)
def test_a_tar_is_one_whatever_its_first_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "image").write_bytes(tar(directory("d"), file(name))[512:])
    if name.startswith("BZh"):  # where two formats say the same, packing comes first
        with pytest.raises(DamagedImage, match="damaged bzip2"):
            open_tar(tmp_path / "image", "image", tmp_path)
        return
    assert open_tar(tmp_path / "image", "image", tmp_path).size(name) == 1


HUGE = tar(file("a", "x" * 3000))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HUGE[:2000], "image ends too early: copy it again"),
        (HUGE[:700], "image ends too early: copy it again"),
        (HUGE[:300], "image ends too early: copy it again"),
        (gzip.compress(HUGE, mtime=0)[:-6], "image ends in the middle of gzip: copy it again"),
        (lzma.compress(HUGE)[:-6], "image ends in the middle of xz: copy it again"),
        (b"x" + HUGE[1:], "image has a header with a wrong checksum: copy it again"),
        (HUGE + tar(file("b")), "image has something behind the end .*--concatenate"),
        (HUGE + b"junk", "image has something behind the end"),
        (b"\x01\x02noise" * 500, "image is no tar: an image is a tar"),
        (tar(), "image is a tar with nothing in it"),
        (tar(directory("./")), "image is a tar with nothing in it"),
        (gzip.compress(b"", mtime=0), "image is empty"),
    ],
)
def test_what_is_damaged_or_nothing(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "image").write_bytes(content)
    with pytest.raises(InvalidImage, match=message) as raised:
        open_tar(tmp_path / "image", "image", tmp_path)
    assert "push" not in str(raised.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, lzma_alone])
def test_what_can_be_unpacked(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "image").write_bytes(pack(tar(file("a", "content"))))
    opened = open_tar(tmp_path / "image", "image", tmp_path)
    assert b"".join(opened.read("./a")) == b"content"


def test_a_window_larger_than_the_zstd_command_takes(tmp_path: Path) -> None:
    content = tar(file("a", "x" * (130 << 20)))
    (tmp_path / "root.tar").write_bytes(content)
    make_file(tmp_path, "zstd", "-q", "-1", "--long=28", "root.tar", "-o", "image")
    opened = open_tar(tmp_path / "image", "image", tmp_path)
    assert opened.size("a") == 130 << 20


@pytest.mark.parametrize(
    "content",
    [
        # zstd_compression_format.md, "Window Descriptor": the largest exponent
        b"\x28\xb5\x2f\xfd\x00\xf8\x01\x00\x00",
        # lzma-file-format.txt: a dictionary of 3 GiB
        b"\x5d" + struct.pack("<IQ", 3 << 30, 100) + bytes(100),
    ],
    ids=["zstd", "lzma"],
)
def test_what_needs_more_memory_than_any_honest_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image").write_bytes(content)
    with pytest.raises(InvalidImage, match="needs more than 2 GiB of memory") as raised:
        open_tar(tmp_path / "image", "image", tmp_path)
    assert "damaged" not in str(raised.value)


def test_gnu_tars_for_backups(tmp_path: Path) -> None:
    """Directories with a list of what was in them, a label, sparse files."""
    (tmp_path / "root/sub").mkdir(parents=True)
    (tmp_path / "root/sub/a").write_text("content")
    with open(tmp_path / "root/sparse", "wb") as stream:
        stream.truncate(1 << 20)
        stream.seek(1 << 19)
        stream.write(b"x")
    command = ("tar", "-C", "root", "-S", "--label=backup", "--listed-incremental=list")
    make_file(tmp_path, *command, "--format=gnu", "-cf", tmp_path / "image", ".")
    opened = open_tar(tmp_path / "image", "image", tmp_path)
    members = {member.path.decode().strip("./"): member for member in opened.index.members}
    assert set(members) == {"", "sub", "sub/a", "sparse"}
    assert {member.kind.name for name, member in members.items() if name in ("", "sub")} == {
        "DIRECTORY"
    }
    assert members["sparse"].extents
    assert b"".join(opened.read("sub/a")) == b"content"


def test_one_volume_of_several(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(256)) * 200)
    (tmp_path / "other").mkdir()
    make_file(
        tmp_path,
        *("tar", "-M", "-L", "30", "-cf", "volume1", "-f", "volume2", "-f", "volume3", "a"),
    )
    with pytest.raises(InvalidImage, match="ends too early"):
        open_tar(tmp_path / "volume1", "volume1", tmp_path)
    with pytest.raises(InvalidImage, match=r"volume2 has the rest of a file .*--multi-volume"):
        open_tar(tmp_path / "volume2", "volume2", tmp_path / "other")


def test_names_of_long_ago_are_refused(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(
        tar(file("a"), entry("././@MaNgLeD.000", b"N", b"Rename a to b"))
    )
    with pytest.raises(InvalidImage, match="image has names as GNU tar wrote them before 1993"):
        open_tar(tmp_path / "image", "image", tmp_path)


def test_what_is_neither_file_nor_directory() -> None:
    with pytest.raises(ImageError, match="/dev/null is neither a file nor a directory"):
        open_tar(Path("/dev/null"), "/dev/null", Path("/nowhere"))


def test_a_python_without_lzma_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cwl_udss.images.layers.compression.lzma", None)
    with pytest.raises(ImageError, match="this Python was built without the module lzma"):
        list(decompress([lzma.compress(b"content")]))
