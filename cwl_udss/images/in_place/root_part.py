# SPDX-License-Identifier: Apache-2.0
"""Where in a file the root filesystem is that others have made: in a SIF or SquashFS file.

Only what is needed to say so, and whether it is for this machine, is read here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.errors import ImageError
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.images.formats.sif.configuration import sif_configuration
from cwl_udss.images.formats.sif.layout import MAGIC, MAGIC_OFFSET
from cwl_udss.images.formats.sif.reader import read_sif
from cwl_udss.images.formats.squashfs.format import MAGIC as SQUASHFS_MAGIC
from cwl_udss.images.manifests.manifest import (
    OWN_WORDS,
    Platform,
    check_platform,
    parse_config,
)

_BEGINNING = 4096
SILENT_CONFIGURATION = json.dumps({"os": "linux", OWN_WORDS: True}).encode()
"""Of what says at most in files of its own how it is to be run."""
_SQUASHFS = SQUASHFS_MAGIC.to_bytes(4, "little")


@dataclass(frozen=True, kw_only=True)
class RootPart:
    """The root filesystem in a file: SquashFS, from an offset on."""

    offset: int
    size: int
    config: bytes
    """As registries have it, with what the file says."""


def root_part(path: Path, name: str, platform: Platform) -> RootPart | None:
    """Return where in a file the root filesystem is; None if that is an archive, or what else has
    to be read first. `name` is for messages. Raises ImageError."""
    try:
        with path.open("rb") as stream:
            beginning = stream.read(_BEGINNING)
        size = path.stat().st_size
    except OSError as error:
        problem = f"{name} cannot be read: {system_words(error)}"
        raise ImageError(problem, "look at its path") from error
    if beginning.startswith(MAGIC, MAGIC_OFFSET):
        sif = read_sif(path, name)
        config = sif_configuration(sif)
        _check_platform(config, name, platform)
        return RootPart(offset=sif.root.offset, size=sif.root.size, config=config)
    start = _squashfs_offset(beginning)
    if start is None:
        return None
    return RootPart(offset=start, size=size - start, config=SILENT_CONFIGURATION)


def holds_root(beginning: bytes) -> bool:
    """Say whether what begins so is a file that root_part() reads."""
    is_sif = beginning.startswith(MAGIC, MAGIC_OFFSET)
    return is_sif or _squashfs_offset(beginning) is not None


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
