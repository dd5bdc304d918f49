# SPDX-License-Identifier: Apache-2.0
"""Damaged image files are refused in a sentence; there are more in benchmarks/fuzz_images.py."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from needs import need

FUZZ = Path(__file__).parents[3] / "benchmarks/fuzz_images.py"


def test_files_damaged_at_random() -> None:
    if shutil.which("mksquashfs") is None:
        need("needs mksquashfs (Debian: squashfs-tools)")
    command = [sys.executable, FUZZ, "--mutations", "300"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" 0 failed") == 2
