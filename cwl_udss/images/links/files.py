# SPDX-License-Identifier: Apache-2.0
"""Writes an image of the store as one file that other programs can run."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from cwl_udss.images.formats.names import Compression, ImageFormat
from cwl_udss.images.formats.sif.configuration import CONFIG_NAME
from cwl_udss.images.formats.sif.layout import ObjectKind
from cwl_udss.images.formats.sif.writer import Document, write_sif
from cwl_udss.images.formats.squashfs.reader import read_squashfs
from cwl_udss.images.formats.squashfs.writer import SquashfsSink
from cwl_udss.images.libraries.proof import SOURCE_DIGEST, SOURCE_NAME
from cwl_udss.images.links import apptainer, enroot
from cwl_udss.images.links.added import Additions, add_to
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.trees.snapshot import read_directory

_LAYER = 1  # what is read is of layer 0


def write_sif_file(image: StoredImage, name: str, destination: Path, work: Path) -> None:
    """Write a SIF file for Apptainer and Singularity, of an image that is pulled by `name`, or is
    at that path; `work` is a directory for what is not finished. Raises ImageError and OSError."""
    process = _process(image)
    definition = apptainer.definition_of(name)
    labels = {key: str(value) for key, value in (process.get("Labels") or {}).items()}
    if image.digest:
        labels |= {SOURCE_NAME: name, SOURCE_DIGEST: image.digest}
    root = work / "rootfs.squashfs"
    _write_root(image, root, work, apptainer.additions(image.config, definition, labels))
    documents = [
        Document(kind=ObjectKind.DEFINITION, name="Singularity", content=definition.encode())
    ]
    if image.is_stored:
        content = json.dumps(process).encode()
        documents.append(Document(kind=ObjectKind.JSON, name=CONFIG_NAME, content=content))
    with destination.open("xb") as stream:
        write_sif(stream, root, image.config.platform.architecture, documents)


def write_squashfs_file(image: StoredImage, destination: Path, work: Path) -> None:
    """Write a SquashFS file for enroot. Raises ImageError and OSError."""
    _write_root(image, destination, work, enroot.additions(image.config))


def _process(image: StoredImage) -> dict[str, Any]:
    """How the image's programs are run, as it says itself; what is used where it is says that in
    files of its own at most."""
    if not image.is_stored:
        return {}
    document = json.loads((image.path.parent / "config.json").read_bytes())
    process = document.get("config")
    return process if isinstance(process, dict) else {}


def _write_root(image: StoredImage, destination: Path, work: Path, additions: Additions) -> None:
    """Write an image's root filesystem with more files in it. It is compressed by what every
    squashfuse and kernel can read."""
    if image.format is ImageFormat.DIRECTORY:
        tree, contents = read_directory(image.path)
    else:
        tree, contents = read_squashfs(image.path, image.offset)
    added = add_to(tree, additions, _LAYER)
    with closing(SquashfsSink(destination, work / "contents", Compression.GZIP)) as sink:
        for file, content in contents:
            sink.add(file, content)
        for file, whole in added:
            sink.add(file, [whole])
        sink.finish(tree)
