# SPDX-License-Identifier: Apache-2.0
"""Which program mounts SquashFS files, and its command line."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from cwl_udss.images.node.mount_holder import INFORMATION
from cwl_udss.images.store.image import StoredImage

MOUNTER = "squashfuse_ll"
# Where Apptainer keeps the one that it brings, beside the directory of its command.
_APPTAINER = ("../libexec/apptainer/bin", "../libexec/singularity/bin")


def find_mounter(environment: Mapping[str, str]) -> str | None:
    """Return a squashfuse_ll: on PATH, of the Python or conda environment, or Apptainer's. The
    older squashfuse is 5 to 25 times slower, and is not used."""
    search = environment.get("PATH")
    directories = [Path(sys.prefix) / "bin"]
    if environment.get("CONDA_PREFIX"):
        directories.append(Path(environment["CONDA_PREFIX"]) / "bin")
    for name in ("apptainer", "singularity"):
        command = shutil.which(name, path=search)
        if command:
            directories += [Path(command).resolve().parent / part for part in _APPTAINER]
    found = shutil.which(MOUNTER, path=search)
    others = (shutil.which(MOUNTER, path=str(directory)) for directory in directories)
    return found or next((other for other in others if other), None)


def mount_command(bwrap: str, mounter: str, image: StoredImage, place: Path) -> list[str]:
    """Mount in namespaces of its own. bwrap makes them, which may be the only program that is
    allowed to (AppArmor on Ubuntu); without the PID namespace squashfuse would stay."""
    return [
        *(bwrap, "--unshare-user", "--unshare-pid", "--die-with-parent", "--dev-bind", "/", "/"),
        *("--cap-add", "CAP_SYS_ADMIN", "--info-fd", INFORMATION, "--"),
        *(mounter, "-f", "-o", f"offset={image.offset}", str(image.path), str(place / "root")),
    ]
