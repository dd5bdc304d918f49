# SPDX-License-Identifier: Apache-2.0
"""Container engines as tests use them: Debian sid's Apptainer, and this machine's podman, each in
an environment in which it is found, and keeps what it keeps in a directory of the tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from foreign.sid import Sid
from needs import SCRATCH

# Podman's own choice, crun, does not start on machines with both versions of control groups, and
# many that tests run on have no systemd.
_PODMAN = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def apptainer_environment(sid: Sid, directory: Path) -> dict[str, str]:
    """Return an environment in which there is an `apptainer`."""
    sid.write_script(directory / "apptainer", "apptainer")
    return {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}


@contextlib.contextmanager
def podman_environment() -> Iterator[dict[str, str]]:
    """Return an environment in which podman works; at the end it keeps nothing."""
    # The names of its sockets are long already: unix(7).
    directory = Path(tempfile.mkdtemp(dir=SCRATCH))
    try:
        (directory / "containers.conf").write_text(_PODMAN)
        (directory / "storage.conf").write_text('[storage]\ndriver = "overlay"\n')
        (directory / "run").mkdir(mode=0o700)
        environment = {
            **os.environ,
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(directory / "run"),
            "CONTAINERS_CONF": str(directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
        }
        yield environment
        # What a podman that was killed has not removed.
        remove = ["podman", "--log-level=error", "rm", "--all", "--force"]
        subprocess.run(remove, env=environment, stdout=subprocess.DEVNULL, check=False)
        with contextlib.suppress(OSError, ValueError):  # what keeps its namespaces
            pause = int((directory / "run/libpod/tmp/pause.pid").read_text())
            os.kill(pause, signal.SIGKILL)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def has_podman() -> bool:
    """Say whether there is a podman, and what it starts containers with."""
    return all(map(shutil.which, ("podman", "runc")))
