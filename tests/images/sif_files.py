# SPDX-License-Identifier: Apache-2.0
"""SIF and SquashFS files, whole and otherwise, for tests."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from needs import need

from cwl_udss.images.formats.sif.layout import (
    DESCRIPTOR,
    HEADER,
    MAGIC,
    PARTITION,
    VERSION,
    FileSystem,
    ObjectKind,
    Part,
)

LAUNCH = b"#!/usr/bin/env run-singularity\n"
_TABLE_OFFSET = 4096
_DATA_OFFSET = 32768


@dataclass(frozen=True, kw_only=True)
class Object:
    """Something to be put into a SIF file."""

    kind: ObjectKind
    content: bytes
    name: str = ""
    extra: bytes = b""


def partition(
    content: bytes,
    file_system: FileSystem = FileSystem.SQUASHFS,
    part: Part = Part.PRIMARY_SYSTEM,
    architecture: bytes = b"02",
) -> Object:
    """A partition, as a rule the root filesystem."""
    extra = PARTITION.pack(file_system, part, architecture)
    return Object(kind=ObjectKind.PARTITION, content=content, name="root", extra=extra)


def document(name: str, content: bytes, kind: ObjectKind = ObjectKind.JSON) -> Object:
    """A document such as Apptainer puts into its files."""
    return Object(kind=kind, content=content, name=name, extra=struct.pack("<2i", 2, 1))


def sif(*objects: Object, architecture: bytes = b"02") -> bytes:
    """A SIF file with these objects."""
    descriptors, data = bytearray(), bytearray()
    for number, each in enumerate(objects, 1):
        data += b"\0" * (-len(data) % 4096)
        size = len(each.content)
        place = _DATA_OFFSET + len(data)
        fields = (each.kind, 1, number, 0xF0000001, 0, place, size, size, 0, 0, 0, 0)
        descriptors += DESCRIPTOR.pack(*fields, each.name.encode(), each.extra)
        data += each.content
    total = 48
    table_bytes = total * DESCRIPTOR.size
    header = HEADER.pack(
        *(LAUNCH, MAGIC, VERSION, architecture, b"\0" * 16, 0, 0),
        *(total - len(objects), total, _TABLE_OFFSET, table_bytes, _DATA_OFFSET, len(data)),
    )
    beginning = header.ljust(_TABLE_OFFSET, b"\0") + descriptors
    return beginning.ljust(_DATA_OFFSET, b"\0") + bytes(data)


def squashfs(root: Path, *options: str) -> bytes:
    """What mksquashfs makes of a directory."""
    program = shutil.which("mksquashfs")
    if program is None:
        need("needs mksquashfs (Debian: squashfs-tools)")
    image = root.with_name(f"{root.name}.squashfs")
    image.unlink(missing_ok=True)
    command = [program, root, image, "-all-root", "-quiet", "-no-progress", *options]
    subprocess.run(command, check=True, capture_output=True)
    return image.read_bytes()


def busybox_root(path: Path) -> Path:
    """A root filesystem with a shell, and nothing else: no mount points either."""
    busybox = shutil.which("busybox", path="/bin:/usr/bin")
    if busybox is None:
        need("needs a static busybox (Debian: busybox-static)")
    (path / "bin").mkdir(parents=True)
    shutil.copy(busybox, path / "bin/busybox")
    for name in ("sh", "cat", "ls", "env", "echo", "id", "touch", "true", "sleep"):
        (path / "bin" / name).symlink_to("busybox")
    return path
