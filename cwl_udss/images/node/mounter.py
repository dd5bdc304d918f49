# SPDX-License-Identifier: Apache-2.0
"""Which program mounts SquashFS files, and its command line."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from cwl_udss.images.node.mount_holder import INFORMATION
from cwl_udss.images.store.image import StoredImage
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.sandbox import MadeByUnshare, Runtime

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


# /proc is that of the namespace outside, in which this process has another number.
_SAY_NUMBER = """
read -r number rest </proc/self/stat
printf '{"child-pid": %s}' "$number" >"/proc/self/fd/$0"
exec "$@"
"""


def can_enter_mounts(runtime: Runtime) -> bool:
    """Say whether a runtime's sandboxes can be where only another process sees an image."""
    return bool(_namespaces(runtime))


def mount_command(runtime: Runtime, mounter: str, image: StoredImage, place: Path) -> list[str]:
    """Mount in namespaces of its own."""
    options = ("-f", "-o", f"offset={image.offset}", str(image.path), str(place / "root"))
    return [*_namespaces(runtime), mounter, *options]


# Files of root in an image, as nearly all are, then belong to the caller, as those of a directory
# do: a container can only write over what belongs to somebody whom it knows (inode_permission() in
# the kernel's fs/namei.c).
_ROOT = ("--uid", "0", "--gid", "0")


def _namespaces(runtime: Runtime) -> tuple[str, ...]:
    """The beginning of a command line that makes them, by the program which makes the runtime's
    own: it may be the only one that is allowed to (AppArmor on Ubuntu). Without the PID namespace
    squashfuse would stay."""
    if isinstance(runtime, Bubblewrap):
        bind = ("--dev-bind", "/", "/", "--cap-add", "CAP_SYS_ADMIN")
        bwrap = (runtime.path, "--unshare-user", "--unshare-pid", "--die-with-parent")
        return (*bwrap, *_ROOT, *bind, "--info-fd", INFORMATION, "--")
    if isinstance(runtime, MadeByUnshare):
        own = (runtime.unshare, "-r", "-m", "-p", "-f", "--kill-child")
        return (*own, "sh", "-c", _SAY_NUMBER, INFORMATION)
    return ()
