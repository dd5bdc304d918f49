# SPDX-License-Identifier: Apache-2.0
"""What a short container is started with: it takes no longer than its caller notices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

IMAGE = "docker.io/library/busybox:1.36"
# What takes long to import, and for what a short container does not do.
HEAVY = {
    *("inspect", "traceback", "_hashlib", "random", "platform", "socket", "tomllib", "datetime"),
    *("tempfile", "ipaddress", "bz2", "lzma", "concurrent.futures", "importlib.metadata"),
    *("cwltool", "requests", "rich", "ssl", "yaml", "cwl_udss.runtimes.machine_code.program"),
}
MOST_MODULES = 240
COMMANDS = {
    "podman": ("run", "--rm", "--network=none", IMAGE, "true"),
    "apptainer": ("exec", f"docker://{IMAGE}", "true"),
}


@pytest.fixture(scope="module", autouse=True)
def image(doors: Path, environment: dict[str, str]) -> None:
    subprocess.run([doors / "podman", "pull", "-q", IMAGE], env=environment, check=True)


def imports(door: Path, environment: dict[str, str]) -> tuple[set[str], str]:
    """What a door imports for a container of `true`, and where Python found it."""
    done = subprocess.run(
        [sys.executable, "-IS", "-X", "importtime", "-v", door, *COMMANDS[door.name]],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_short_container_imports_little(
    doors: Path, environment: dict[str, str], name: str
) -> None:
    for _ in range(2):  # the first may have to try which runtime there is
        imported, said = imports(doors / name, environment)
    assert "cwl_udss.runtimes.bubblewrap.bwrap" in imported
    assert imported & HEAVY == set()
    assert len(imported) <= MOST_MODULES
    assert "bwrap.cpython" not in said, "it is read from a file of its own"
