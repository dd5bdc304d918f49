# SPDX-License-Identifier: Apache-2.0
"""Root filesystems made of the files of Debian packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


class MissingPackage(Exception):
    """A Debian package that the tests need is not installed, or cannot be had."""


def extract_packages(tar: Path, release: str, packages: Sequence[str]) -> None:
    """Write an archive of what packages of a Debian release, and those they depend on, have.

    They are extracted, not installed: that needs neither root nor a chroot, and what their scripts
    would make is not there. Raises MissingPackage.
    """
    if shutil.which("mmdebstrap") is None:
        raise MissingPackage("needs the Debian package mmdebstrap")
    made = subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(packages)}"),
            # Lists are no older than a week, but those of a mirror may be.
            '--aptopt=Acquire::Check-Valid-Until "false"',
            *(release, str(tar)),
        ],
        # It works as another user than the caller, who may not look into directories of his.
        env={name: value for name, value in os.environ.items() if name != "TMPDIR"},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise MissingPackage(f"mmdebstrap cannot get Debian packages: {made.stderr[-300:]}")
