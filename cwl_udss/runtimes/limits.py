# SPDX-License-Identifier: Apache-2.0
"""What runtimes cannot keep of what is promised of a sandbox, or do not have, said beforehand.

Which of them a runtime has on a machine, it says itself (see Runtime.limits).
"""

from __future__ import annotations

from cwl_udss.sandbox import Limit

METADATA = Limit(
    name="metadata-writable",
    text="a tool can change the modes, times and extended attributes of its inputs and of the "
    "image, where they are yours; never what is in them",
)
SIGNALS = Limit(
    name="processes-signalled",
    text="a tool can send signals to your other processes, and reach abstract sockets "
    "(Landlock before Linux 6.12)",
)
LOOPBACK = Limit(
    name="no-loopback",
    text="without NetworkAccess there is not even a loopback of the step's own",
    is_weakness=False,
)
PROCESSES = Limit(
    name="no-proc-pid",
    text="nothing of /proc tells of processes, not even of the step's own",
    is_weakness=False,
)
HOST_NAME = Limit(
    name="host-name",
    text="a tool sees this machine's name",
    is_weakness=False,
)
IPC = Limit(
    name="no-ipc",
    text="there is no System V IPC and there are no POSIX message queues",
    is_weakness=False,
)
SHARED_MEMORY = Limit(
    name="no-shm-limit",
    text="/dev/shm has no limit (ShmSize), or is on the scratch directory",  # noqa: S108
    is_weakness=False,
)
MOVES = Limit(
    name="no-moves",
    text="files cannot be moved between directories but by copying (Landlock before Linux 5.19)",
    is_weakness=False,
)


DEVICES = Limit(
    name="dev-writable",
    text="a tool can make files in its own /dev, which are in memory and gone with it",
)
SITE_MOUNTS = Limit(
    name="site-mounts",
    text="the site's configuration shows more of this machine in every container",
)
SCRIPTS = Limit(
    name="no-image-scripts",
    text="/.singularity.d/env of an image is empty: its scripts are taken into account beforehand",
    is_weakness=False,
)
ROOT_USER = Limit(
    name="root-user",
    text="a tool is root in its sandbox, which is you: there are no further user ids (subuid(5))",
    is_weakness=False,
)

PROOT_LIMITS = (METADATA, HOST_NAME, LOOPBACK, PROCESSES, IPC, SHARED_MEMORY, SIGNALS, MOVES)
"""Those of PRoot within Landlock and seccomp, on any kernel."""

APPTAINER_LIMITS = (DEVICES, SITE_MOUNTS, HOST_NAME, SHARED_MEMORY, SCRIPTS)
"""Those of Apptainer and Singularity, however they are configured."""
PODMAN_LIMITS = (SITE_MOUNTS, DEVICES, ROOT_USER)
"""Those of podman, however it is configured."""

LIMITS = tuple(dict.fromkeys((*PROOT_LIMITS, *APPTAINER_LIMITS, *PODMAN_LIMITS)))
"""All of them."""
WEAKNESSES = tuple(limit for limit in LIMITS if limit.is_weakness)
"""Those that a person must accept."""
