# SPDX-License-Identifier: Apache-2.0
"""With which permissions this process makes files."""

from __future__ import annotations


def own_umask() -> int:
    """This process's own (proc_pid_status(5)): umask(2) cannot be read without setting it."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
        masks = [line.split()[1] for line in lines if line.startswith("Umask:")]
    return int(masks[0], 8)
