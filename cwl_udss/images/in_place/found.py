# SPDX-License-Identifier: Apache-2.0
"""Root filesystems that others have made, used where they are: SIF and SquashFS files, directories.

Only what is needed to say what a file is, and whether it is for this machine, is read here.
"""

from __future__ import annotations

import json
from pathlib import Path

from cwl_udss.errors import ImageError
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.formats.sif.configuration import sif_configuration
from cwl_udss.images.formats.sif.layout import MAGIC, MAGIC_OFFSET
from cwl_udss.images.formats.sif.reader import read_sif
from cwl_udss.images.formats.squashfs.format import MAGIC as SQUASHFS_MAGIC
from cwl_udss.images.locations import file_stamp
from cwl_udss.images.manifests.manifest import (
    OWN_WORDS,
    Platform,
    check_platform,
    parse_config,
)
from cwl_udss.images.sources.archives import check_root_directory, is_image_directory
from cwl_udss.images.store.image import StoredImage, image_in_place

_BEGINNING = 4096
_CONFIGURATION = json.dumps({"os": "linux", OWN_WORDS: True}).encode()
_SQUASHFS = SQUASHFS_MAGIC.to_bytes(4, "little")


def found_image(path: Path, name: str, platform: Platform) -> StoredImage | None:
    """Return the image that is at a path, to be used where it is; None if that is an archive, or
    what else has to be read first. `name` is for messages. Raises ImageError."""
    try:
        if path.is_dir():
            return None if is_image_directory(path) else _directory(path)
        with path.open("rb") as stream:
            beginning = stream.read(_BEGINNING)
        status, stamp = path.stat(), file_stamp(path)
    except OSError as error:
        problem = f"{name} cannot be read: {system_words(error)}"
        raise ImageError(problem, "look at its path") from error
    if beginning.startswith(MAGIC, MAGIC_OFFSET):
        sif = read_sif(path, name)
        config, offset, size = sif_configuration(sif), sif.root.offset, sif.root.size
        _check_platform(config, name, platform)
    elif (start := _squashfs_offset(beginning)) is not None:
        config, offset, size = _CONFIGURATION, start, status.st_size - start
    else:
        return None
    return image_in_place(
        path, ImageFormat.SQUASHFS, stamp=stamp, offset=offset, size=size, config=config
    )


def _directory(path: Path) -> StoredImage:
    check_root_directory(path)
    return image_in_place(path, ImageFormat.DIRECTORY, stamp="", config=_CONFIGURATION)


def _check_platform(config: bytes, name: str, platform: Platform) -> None:
    try:
        check_platform(parse_config(config), platform)
    except ImageError as error:
        raise ImageError(f"{name}: {error.problem}", error.advice) from error


def _squashfs_offset(beginning: bytes) -> int | None:
    """Where SquashFS begins in a file: at its beginning, or behind the line by which a shell would
    launch an image of Singularity 2."""
    if beginning.startswith(_SQUASHFS):
        return 0
    if beginning.startswith(b"#!"):
        offset = beginning.find(b"\n") + 1
        if offset and beginning.startswith(_SQUASHFS, offset):
            return offset
    return None
