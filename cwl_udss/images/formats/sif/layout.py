# SPDX-License-Identifier: Apache-2.0
"""The structures of a SIF file, version 1: https://github.com/apptainer/sif, pkg/sif.

A header, a table of descriptors, and the objects that these describe. Little endian, packed.
"""

from __future__ import annotations

import enum
import struct

MAGIC = b"SIF_MAGIC\0"
MAGIC_OFFSET = 32
"""Behind a line that lets a shell launch the file."""
VERSION = b"01\0"

HEADER = struct.Struct("<32s10s3s3s16s8q")
"""launch, magic, version, architecture, uuid, created, modified, and of descriptors: how many are
free, how many there are, where, how many bytes; of the objects: where, how many bytes."""
DESCRIPTOR = struct.Struct("<iBIII7q128s384s")
"""kind, whether it is used, identifier, group, link; offset, size, size with padding, created,
modified, user and group; name, and what the kind has of its own."""
PARTITION = struct.Struct("<2i3s")
"""What a partition has of its own: filesystem, part, architecture."""

ARCHITECTURES = {
    b"01": "386",
    b"02": "amd64",
    b"03": "arm",
    b"04": "arm64",
    b"05": "ppc64",
    b"06": "ppc64le",
    b"07": "mips",
    b"08": "mipsle",
    b"09": "mips64",
    b"10": "mips64le",
    b"11": "s390x",
    b"12": "riscv64",
    b"13": "loong64",
}
"""Go's names; "00" is unknown."""


class ObjectKind(enum.IntEnum):
    """What an object is."""

    DEFINITION = 0x4001
    ENVIRONMENT = 0x4002
    LABELS = 0x4003
    PARTITION = 0x4004
    SIGNATURE = 0x4005
    JSON = 0x4006
    GENERIC = 0x4007
    CRYPTOGRAPHIC_MESSAGE = 0x4008
    BILL_OF_MATERIALS = 0x4009
    OCI_ROOT_INDEX = 0x400A
    OCI_BLOB = 0x400B


class FileSystem(enum.IntEnum):
    """What a partition holds."""

    SQUASHFS = 1
    EXT3 = 2
    ARCHIVE = 3
    RAW = 4
    ENCRYPTED_SQUASHFS = 5
    GOCRYPTFS_SQUASHFS = 6


class Part(enum.IntEnum):
    """What a partition is for."""

    SYSTEM = 1
    PRIMARY_SYSTEM = 2
    DATA = 3
    OVERLAY = 4
