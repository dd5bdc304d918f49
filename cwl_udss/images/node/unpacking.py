# SPDX-License-Identifier: Apache-2.0
"""Unpacks an image to a directory of this node."""

from __future__ import annotations

import contextlib
import logging
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cwl_udss.images.formats.directory import DirectorySink
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.formats.squashfs.reader import read_squashfs
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.trees.contents import write_tree
from cwl_udss.images.trees.snapshot import read_directory
from cwl_udss.staging import remove_tree

_logger = logging.getLogger(__name__)


def unpack(image: StoredImage, work: Path, environment: Mapping[str, str]) -> None:
    """Make the directory work/root of an image."""
    if image.format is ImageFormat.SQUASHFS and _unsquash(image, work / "root", environment):
        return
    with contextlib.closing(DirectorySink(work / "root", work / "contents")) as sink:
        if image.format is ImageFormat.DIRECTORY:
            write_tree(*read_directory(image.path), sink)
        else:
            write_tree(*read_squashfs(image.path, image.offset), sink)


def _unsquash(image: StoredImage, destination: Path, environment: Mapping[str, str]) -> bool:
    """Let squashfs-tools do it, which are faster, if they are there. Says whether they have."""
    program = shutil.which("unsquashfs", path=environment.get("PATH"))
    if program is None:
        return False
    where = ("-offset", str(image.offset)) if image.offset else ()  # old ones do not know it
    options = ("-no-progress", "-quiet", "-user-xattrs", *where, "-dest", destination)
    done = subprocess.run(
        [program, *options, image.path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        _logger.warning("%s cannot unpack %s: %s", program, image.path, lines[-1] if lines else "")
        remove_tree(destination)
    return done.returncode == 0
