# SPDX-License-Identifier: Apache-2.0
"""What is above podman's containers: conmon(8), which tidies up after one, and podman itself."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from cwl_udss.runtimes.namespace import children, kill_namespace

_SECONDS = 0.002


def wait_for_conmon(file: Path) -> None:
    """Wait until all have ended that are above the container whose conmon is to write its number to
    a file: as orphans they have become our children.

    A podman that was killed between making a container and starting it leaves one in which nothing
    will ever run, and a conmon that waits for its end: so the container is ended, too.
    """
    left = {int(text) for text in _content(file).split()}
    while True:
        own = children(os.getpid())
        left = {child for child in own if child in left or _names(child, file)}
        if not left:
            return
        for child in left:
            for below in children(child):
                kill_namespace(below)
            with contextlib.suppress(ChildProcessError):  # another thread has waited for it
                os.waitpid(child, os.WNOHANG)
        time.sleep(_SECONDS)


def _names(process_id: int, file: Path) -> bool:
    words = _content(Path(f"/proc/{process_id}/cmdline"))
    return os.fsencode(file) in words


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # there was none, or it has ended
        return b""
