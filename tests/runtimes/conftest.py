# SPDX-License-Identifier: Apache-2.0
"""A root filesystem that is there without any image: busybox, as Debian's busybox-static has it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = shutil.which("busybox")
    if program is None:
        reason = "needs the Debian package busybox-static"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    root = tmp_path_factory.mktemp("busybox")
    for directory in ("bin", "etc", "var/lib/cwl", "tmp"):
        (root / directory).mkdir(parents=True)
    shutil.copy(program, root / "bin/busybox")
    for name in ("sh", "ls", "cat", "touch", "env", "id", "sleep", "kill", "setsid", "true", "dd"):
        (root / "bin" / name).symlink_to("busybox")
    for name in ("passwd", "group", "hosts", "resolv.conf"):
        (root / "etc" / name).touch()
    return root
