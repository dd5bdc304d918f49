# SPDX-License-Identifier: Apache-2.0
"""Small images for libraries: a SIF, a SquashFS file, a directory, that hold one file."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cwl_udss.images.formats.names import Compression
from cwl_udss.images.formats.sif.layout import ObjectKind
from cwl_udss.images.formats.sif.writer import Document, write_sif
from cwl_udss.images.formats.squashfs.writer import SquashfsSink
from cwl_udss.images.libraries.naming import Kind
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.trees.contents import write_tree
from cwl_udss.images.trees.snapshot import read_directory

MACHINE = this_platform().architecture
OTHER_MACHINE = "arm64" if MACHINE == "amd64" else "amd64"
LABELS = ".singularity.d/labels.json"


def make_directory(path: Path, labels: Mapping[str, str] | None = None) -> Path:
    (path / "bin").mkdir(parents=True)
    (path / "bin/tool").write_text("a program")
    (path / LABELS).parent.mkdir()
    (path / LABELS).write_text(json.dumps(labels or {}))
    return path


def make_squashfs(path: Path, labels: Mapping[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        root = make_directory(Path(name, "root"), labels)
        sink = SquashfsSink(path, Path(name, "spool"), Compression.GZIP, threads=1)
        with contextlib.closing(sink):
            write_tree(*read_directory(root), sink)
    return path


def make_sif(path: Path, labels: Mapping[str, str] | None = None, machine: str = MACHINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    config = json.dumps({"Env": ["WHOSE=a SIF's"]}).encode()
    with tempfile.TemporaryDirectory() as name, path.open("xb") as stream:
        squashfs = make_squashfs(Path(name, "root.squashfs"), labels)
        document = Document(kind=ObjectKind.JSON, name="oci-config.json", content=config)
        write_sif(stream, squashfs, machine, [document])
    return path


MAKERS = {Kind.SIF: make_sif, Kind.SQUASHFS: make_squashfs, Kind.DIRECTORY: make_directory}
