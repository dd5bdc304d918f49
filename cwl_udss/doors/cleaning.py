# SPDX-License-Identifier: Apache-2.0
"""Removes what is left of containers whose processes were killed, or ended with the machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from cwl_udss.doors.table import EXITED, Table
from cwl_udss.errors import StoreError
from cwl_udss.files.scratch import node_directory
from cwl_udss.settings.settings import Settings

INSTANCES = "instances"
"""Where Apptainer's instances are, in a table of their own."""
# Who makes a container has its log before its record.
_MAKING_SECONDS = 60.0


def clean(settings: Settings) -> list[Path]:
    """Remove what dead processes have left of this user's containers on this node. Returns what it
    was. What has come to its end, and waits for `podman rm`, stays."""
    with contextlib.suppress(StoreError):  # nobody has run a container here
        node = node_directory(settings.scratch, {})
        return [path for place in (node, node / INSTANCES) for path in _clean(place)]
    return []


def _clean(place: Path) -> Iterator[Path]:
    table = Table(place)
    for entry in table.all():
        state = table.state(entry)
        if state.status == EXITED and state.finished is None:  # nobody was there to note it
            table.remove(entry)
            yield place / "containers" / entry.id
    left = [*(place / "containers").glob(".*"), *(place / "logs").glob("*")]
    for path in left:
        if not (place / "containers" / path.name).is_dir() or path.name.startswith("."):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _MAKING_SECONDS:
                    shutil.rmtree(path)
                    yield path
    for link in (place / "names").glob("*"):
        with contextlib.suppress(FileNotFoundError):
            if not (place / "containers" / os.readlink(link)).is_dir():
                link.unlink()
                yield link
