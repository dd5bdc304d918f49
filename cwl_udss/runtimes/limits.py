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

SLOW = Limit(
    name="no-acceleration",
    text="each system call waits for PRoot: with one that says `seccomp_filter = yes` (5.4), what "
    "makes many of them takes a third of the time",
    is_weakness=False,
)
NAMES = Limit(
    name="names-seen",
    text="a tool can find out of any path of this machine whether there is something, of what size "
    "and age; it can neither list directories nor read files that it was not given",
)
TEMPORARY = Limit(
    name="no-tmp",
    text="nothing can be written to /tmp and /dev/shm, only to $TMPDIR",
    is_weakness=False,
)
SESSION = Limit(
    name="own-session",
    text="a step is in a session of its own: a batch system that goes by sessions does not count "
    "what it uses, and at a terminal there is no job control",
    is_weakness=False,
)

DEVICES = Limit(
    name="dev-writable",
    text="a tool can make files in a /dev of its own, which are in memory and gone with it",
    is_weakness=False,
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
FEW_INPUTS = Limit(
    name="few-inputs",
    text="a step has some hundreds of inputs at most, as runc takes no more",
    is_weakness=False,
)
CONTAINER_FILES = Limit(
    name="container-files",
    text="there are /run/.containerenv, /etc/hostname and /etc/mtab of podman's",
    is_weakness=False,
)
TERMINAL = Limit(
    name="no-terminal",
    text="a step has no terminal of yours",
    is_weakness=False,
)
ROOT_USER = Limit(
    name="root-user",
    text="a tool is root in its sandbox, which is you: there are no further user ids (subuid(5))",
    is_weakness=False,
)

_WITHIN_LANDLOCK = (METADATA, HOST_NAME, LOOPBACK, PROCESSES, IPC, SIGNALS, MOVES)
PROOT_LIMITS = (*_WITHIN_LANDLOCK, SHARED_MEMORY, SLOW)
"""Those of PRoot within Landlock and seccomp, on any kernel."""
LANDLOCK_LIMITS = (*_WITHIN_LANDLOCK, NAMES, TEMPORARY)
"""Those of Landlock and seccomp around a tool of the machine."""
OCI_LIMITS = (SESSION,)
"""Those of crun and runc."""

APPTAINER_LIMITS = (DEVICES, SITE_MOUNTS, HOST_NAME, SHARED_MEMORY, SCRIPTS)
"""Those of Apptainer and Singularity, however they are configured."""
PODMAN_LIMITS = (
    *(SITE_MOUNTS, DEVICES, ROOT_USER, CONTAINER_FILES, TERMINAL, FEW_INPUTS, SESSION),
)
"""Those of podman, however it is configured."""

_BY_RUNTIME = (PROOT_LIMITS, LANDLOCK_LIMITS, OCI_LIMITS, APPTAINER_LIMITS, PODMAN_LIMITS)
LIMITS = tuple(dict.fromkeys(limit for limits in _BY_RUNTIME for limit in limits))
"""All of them."""
WEAKNESSES = tuple(limit for limit in LIMITS if limit.is_weakness)
"""Those that a person must accept."""
