# SPDX-License-Identifier: Apache-2.0
"""Programs of PyPI that call container engines, each in a virtual environment of its own: what they
need differs.

They are kept between runs, in the tests' cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from commands import COMMANDS
from filelock import FileLock
from needs import need
from stand_ins import cache_directory

# What the programs need is what there was on that day.
_DAY = "2026-11-25T00:00:00Z"
CLIENTS = {
    "cwltool": ("cwltool==3.3.20260925135507",),
    "snakemake": ("snakemake==9.27.1",),
    "toil": ("toil[cwl]==9.6.0",),
    "miniwdl": ("miniwdl==1.16.0",),
    "streamflow": ("streamflow==0.2.0rc3",),
    "boutiques": ("boutiques==0.5.33",),
    "datalad": ("datalad==1.7.1", "datalad-container==1.2.6", "git-annex"),
    "shpc": ("singularity-hpc==0.1.32",),
}


def install(name: str) -> Path:
    """Return the directory of a program's commands, installed if need be."""
    key = hashlib.sha256(repr((_DAY, CLIENTS[name], sys.version)).encode()).hexdigest()[:16]
    cache = cache_directory()
    place = cache / f"client-{name}-{key}"
    # Virtual environments cannot be moved: it is made where it will be.
    made = place / "made"
    with FileLock(cache / f"client-{name}.lock"):
        if not made.exists():
            shutil.rmtree(place, ignore_errors=True)
            _uv("venv", "--python", sys.executable, place)
            python = place / "bin" / "python"
            _uv("pip", "install", "--exclude-newer", _DAY, "--python", python, *CLIENTS[name])
            made.touch()
    return place / "bin"


def _uv(*arguments: str | Path) -> None:
    uv = COMMANDS / "uv"
    if not uv.exists():
        need("needs uv, which is among what the tests need of PyPI")
    done = subprocess.run(
        [uv, "--quiet", "--no-config", *arguments],
        env={**os.environ, "UV_CACHE_DIR": str(cache_directory() / "uv")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
