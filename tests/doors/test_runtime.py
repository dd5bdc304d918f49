# SPDX-License-Identifier: Apache-2.0
"""What makes containers is looked for once on a node, and again where it does not work any more."""

from __future__ import annotations

import json
from pathlib import Path

from doors.callers import Door


def test_what_was_found_is_remembered_and_forgotten(podman: Door, tmp_path: Path) -> None:
    assert podman("run", "--rm", "busybox", "true").returncode == 0
    (memory,) = Path(podman.environment["CWL_UDSS_SCRATCH"]).glob("*/runtime.json")
    found = json.loads(memory.read_bytes())
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    status = broken.stat()
    stamp = [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]
    memory.write_text(json.dumps({**found, "path": str(broken), "program": stamp}))
    assert podman("run", "--rm", "busybox", "true").returncode == 125
    assert podman("run", "--rm", "busybox", "true").returncode == 0


def test_another_program_of_that_name_is_tried(podman: Door) -> None:
    assert podman("run", "--rm", "busybox", "true").returncode == 0
    (memory,) = Path(podman.environment["CWL_UDSS_SCRATCH"]).glob("*/runtime.json")
    found = json.loads(memory.read_bytes())
    memory.write_text(json.dumps({**found, "program": [0, 0, 0, 0], "path": "/usr/bin/false"}))
    assert podman("run", "--rm", "busybox", "true").returncode == 0
