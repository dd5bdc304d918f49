# SPDX-License-Identifier: Apache-2.0
"""Other runners, as contestants where they are installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from measure import COMMANDS, Setting

Commands = dict[str, list[str | Path]]


@contextlib.contextmanager
def cwltool_peers(here: Setting) -> Iterator[Commands]:
    """Give what runs the same workflows, up to the name of the workflow."""
    options: list[str | Path] = ["--outdir", here.scratch / "out"]
    search_path = here.environment["PATH"]
    peers: Commands = {}
    with podman(here.scratch / "podman") as command:
        if shutil.which("podman"):
            # cwltool gives it no options.
            script = here.scratch / "bin/podman"
            script.parent.mkdir()
            script.write_text(f'#!/bin/sh\nexec {" ".join(command)} "$@"\n')
            script.chmod(0o755)
            peers["cwltool --podman"] = [
                *("env", f"PATH={script.parent}:{search_path}"),
                *(COMMANDS / "cwltool", "--podman", "--quiet", *options),
            ]
        toil = shutil.which("toil-cwl-runner")
        if toil:
            peers["toil-cwl-runner"] = [
                *("env", f"PATH={Path(toil).resolve().parent}:{search_path}"),
                *(toil, "--no-container", "--logOff", *options),
                *("--workDir", here.scratch, "--coordinationDir", here.scratch),
            ]
        yield peers


@contextlib.contextmanager
def podman(directory: Path) -> Iterator[list[str]]:
    """Give podman's command with a storage of its own, which is removed; for machines without
    systemd."""
    command = podman_command(directory)
    try:
        yield command
    finally:
        if os.geteuid() != 0 and directory.exists():  # there are files of subordinate users
            subprocess.run(["podman", "unshare", "rm", "-rf", directory], check=True)


def podman_command(directory: Path) -> list[str]:
    """Return podman's command with a storage in a directory."""
    return [
        *(shutil.which("podman") or "podman", "--root", f"{directory}/root"),
        *("--runroot", f"{directory}/run", "--storage-driver", "overlay", "--runtime", "runc"),
        *("--cgroup-manager", "cgroupfs", "--events-backend", "file"),
    ]
