# SPDX-License-Identifier: Apache-2.0
"""What a file that is no tar is, by its first bytes, and what makes an image of it.

The numbers are those of file(1)'s magic database, and of each format's own description.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cwl_udss.images.layers.compression import compression_name

LONGEST_BEGINNING = (1 << 16) + 72
"""How many bytes decide: btrfs has its superblock, with its magic in it, at 64 KiB."""

_SIF_MAGIC = (32, b"SIF_MAGIC")  # after a line to launch it: sif's pkg/sif/sif.go
_TEXT_BYTES = 4096


class FileKind(NamedTuple):
    """A format, as a person knows it."""

    name: str
    """With its article: "a SIF image (Apptainer's)"."""
    advice: str
    """What to do instead of giving it as an image."""
    is_packed: bool = False
    """As a tar may be."""


def _to_directory(command: str) -> str:
    return f"make a directory of it ({command}), and name that by its path"


def _unpacked(command: str) -> str:
    return f"unpack it first: {command}"


_DISK = "mount it, or unpack it with `7z x`, and make a tar of what is in it"
_NO_IMAGE = "an image is a tar, an OCI layout or a directory"
_DOWNLOADED = "it is what came instead of the image: look at where it was downloaded from"

_AS_IT_IS = "name it by its path, as it is"
_SIF = FileKind("a SIF image (Apptainer's)", _AS_IT_IS)
_SINGULARITY_2 = FileKind("an image of Singularity 2", _AS_IT_IS)
_SINGULARITY_2_EXT = FileKind(
    "an image of Singularity 2 with ext3", "have it made anew: apptainer build NEW.sif FILE"
)
_SQUASHFS = FileKind("a SquashFS file", _AS_IT_IS)
_EROFS = FileKind("an EROFS filesystem", _to_directory("fsck.erofs --extract=DIRECTORY FILE"))
_EXT = FileKind(
    "an ext2, ext3 or ext4 filesystem",
    _to_directory("debugfs -R 'rdump / DIRECTORY' FILE, into one that is there"),
)
WEB_PAGE = FileKind("a web page", _DOWNLOADED)
DOCUMENT = FileKind("a CWL document", "name the image, or run it with cwltool --udss")
_DOCKERFILE = FileKind("a Dockerfile", "give its text as dockerFile, which builds the image")
_DEFINITION = FileKind(
    "a definition file (Apptainer's)", "build it, and name the result: apptainer build X.sif FILE"
)
_ENCRYPTED = FileKind("an encrypted file", "decrypt it first")
_BROKEN_OFF = FileKind(
    "no more than the beginning of an image of Apptainer's or Singularity's",
    "copy it again, or make it again",
)
_SCRIPT = FileKind("a script", _NO_IMAGE)
_JSON = FileKind("JSON", _NO_IMAGE)
_TEXT = FileKind("a text", _NO_IMAGE)

# By offset and bytes there; the first that fits.
_KINDS: tuple[tuple[int, bytes, FileKind], ...] = (
    (*_SIF_MAGIC, _SIF),
    (0, b"hsqs", _SQUASHFS),
    (0, b"\x7fELF", FileKind("a program (ELF)", _NO_IMAGE)),
    (0, b"PK\x03\x04", FileKind("a zip file", _unpacked("unzip FILE"))),
    (0, b"PK\x05\x06", FileKind("a zip file with nothing in it", _NO_IMAGE)),
    (0, b"\x04\x22\x4d\x18", FileKind("packed with lz4", _unpacked("lz4 -d FILE"))),
    (0, b"\x02\x21\x4c\x18", FileKind("packed with lz4", _unpacked("lz4 -d FILE"))),
    (0, b"LZIP", FileKind("packed with lzip", _unpacked("lzip -d FILE"))),
    (0, b"\x89LZO\0\r\n\x1a\n", FileKind("packed with lzop", _unpacked("lzop -d FILE"))),
    (0, b"\x1f\x9d", FileKind("packed with compress", _unpacked("gzip -d FILE"))),
    (0, b"7z\xbc\xaf\x27\x1c", FileKind("a 7z file", _unpacked("7z x FILE"))),
    (0, b"Rar!\x1a\x07", FileKind("a rar file", _unpacked("unrar x FILE"))),
    (0, b"070701", FileKind("a cpio archive", _unpacked("cpio -id < FILE"))),
    (0, b"070702", FileKind("a cpio archive", _unpacked("cpio -id < FILE"))),
    (0, b"070707", FileKind("a cpio archive", _unpacked("cpio -id < FILE"))),
    (0, b"!<arch>\ndebian", FileKind("a Debian package", _unpacked("dpkg -x FILE DIRECTORY"))),
    (0, b"\xed\xab\xee\xdb", FileKind("an RPM package", _unpacked("rpm2cpio FILE | cpio -id"))),
    (0, b"%PDF-", FileKind("a PDF document", _NO_IMAGE)),
    (
        0,
        b"version https://git-lfs.github.com/",
        FileKind("a pointer of Git LFS, not the file itself", "get that: git lfs pull"),
    ),
    (0, b"LUKS\xba\xbe", FileKind("an encrypted disk (LUKS)", "open it, and make a tar of it")),
    (
        0,
        b"QFI\xfb",
        FileKind(
            "a disk of a virtual machine (qcow2)", "convert it with qemu-img to raw, " + _DISK
        ),
    ),
    (0, b"KDMV", FileKind("a disk of a virtual machine (VMDK)", _DISK)),
    (
        0,
        b"<<< Oracle VM VirtualBox Disk Image",
        FileKind("a disk of a virtual machine (VDI)", _DISK),
    ),
    (0, b"conectix", FileKind("a disk of a virtual machine (VHD)", _DISK)),
    (0, b"vhdxfile", FileKind("a disk of a virtual machine (VHDX)", _DISK)),
    (0, b"XFSB", FileKind("an XFS filesystem", _DISK)),
    (0, b"\x45\x3d\xcd\x28", FileKind("a cramfs filesystem", _DISK)),
    (
        0,
        b"DWARFS",
        FileKind("a DwarFS filesystem", _to_directory("dwarfsextract -i FILE -o DIRECTORY")),
    ),
    (0, b"-----BEGIN PGP MESSAGE", _ENCRYPTED),
    (0, b"age-encryption.org/", _ENCRYPTED),
    (0, b"Salted__", _ENCRYPTED),
    (1024, b"\xe2\xe1\xf5\xe0", _EROFS),
    (1080, b"\x53\xef", _EXT),
    (
        32769,
        b"CD001",
        FileKind("an ISO 9660 filesystem", "make a tar of it: bsdtar -cf FILE.tar @FILE"),
    ),
    (65600, b"_BHRfS_M", FileKind("a btrfs filesystem", _DISK)),
    (512, b"EFI PART", FileKind("a disk with partitions", _DISK)),
    (510, b"\x55\xaa", FileKind("a disk, or the beginning of one", _DISK)),
)

# What Singularity 2 wrote after a line to launch it.
_LAUNCHED = ((0, b"hsqs", _SINGULARITY_2), (1080, b"\x53\xef", _SINGULARITY_2_EXT))

_TEXTS: tuple[tuple[re.Pattern[str], FileKind], ...] = (
    (re.compile(r"\A\s*<(!doctype|html|head|body|\?xml)", re.IGNORECASE), WEB_PAGE),
    (re.compile(r"""\bcwlVersion["']?\s*:"""), DOCUMENT),
    (re.compile(r"\A#!/usr/bin/env run-singularity\n"), _BROKEN_OFF),
    (re.compile(r"\A#!"), _SCRIPT),
    (re.compile(r"\A\s*(#.*\n\s*)*bootstrap\s*:", re.IGNORECASE), _DEFINITION),
    (re.compile(r"\A\s*((#|ARG\b).*\n\s*)*FROM\s", re.IGNORECASE), _DOCKERFILE),
    (re.compile(r"\A\s*[{\[]"), _JSON),
)


def identify(beginning: bytes) -> FileKind | None:
    """Return what begins so, if it is known, and no tar: tars are not looked for.

    `beginning` is of LONGEST_BEGINNING bytes, or all that there is.
    """
    for offset, magic, kind in _KINDS:
        if beginning.startswith(magic, offset):
            return kind
    if beginning.startswith(b"#!"):
        launched = beginning.partition(b"\n")[2]
        for offset, magic, kind in _LAUNCHED:
            if launched.startswith(magic, offset):
                return kind
    packing = compression_name(beginning)
    if packing:
        return FileKind(f"packed with {packing}", _unpacked(f"{packing} -d FILE"), is_packed=True)
    return _text(beginning[:_TEXT_BYTES])


def _text(beginning: bytes) -> FileKind | None:
    text = beginning.decode("utf-8", "replace").removeprefix("\ufeff")
    for pattern, kind in _TEXTS:
        if pattern.search(text):
            return kind
    is_text = all(c.isprintable() or c.isspace() for c in text.rstrip("\ufffd"))
    return _TEXT if is_text and "\ufffd" not in text.rstrip("\ufffd") else None
