# SPDX-License-Identifier: Apache-2.0
"""The options that the doors podman and docker know, and what becomes of each.

A table, from which the parsers and the list in docs/doors.md are made. What is not in it is refused
by its name.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.Enum):
    """What an option takes."""

    FLAG = "nothing, or =true or =false"
    VALUE = "a value, of which the last counts"
    LIST = "a value, each time"


class Fate(enum.Enum):
    """What becomes of an option."""

    HONOURED = "done"
    IGNORED = "accepted, and nothing is done"
    REFUSED = "refused"


@dataclass(frozen=True)
class Option:
    """One option, by all of its names, the long one first."""

    names: tuple[str, ...]
    kind: Kind = Kind.VALUE
    fate: Fate = Fate.HONOURED
    note: str = ""
    """What is different from what the programs do, or why it is refused."""

    @property
    def attribute(self) -> str:
        """What the parsers call it."""
        return self.names[0].lstrip("-").replace("-", "_")


_FLAG, _LIST = Kind.FLAG, Kind.LIST
_IGNORED, _REFUSED = Fate.IGNORED, Fate.REFUSED
_NO_LIMITS = "no limit is set: the batch job's holds"

RUN = (
    Option(("--interactive", "-i"), _FLAG),
    Option(("--tty", "-t"), _FLAG, note="the caller's own terminal, if it has one"),
    Option(("--attach", "-a"), _LIST),
    Option(("--detach", "-d"), _FLAG),
    Option(("--rm",), _FLAG),
    Option(("--name",)),
    Option(("--replace",), _FLAG),
    Option(("--cidfile",)),
    Option(("--label", "-l"), _LIST),
    Option(("--volume", "-v"), _LIST, note="a volume by name is refused: name a directory"),
    Option(("--mount",), _LIST, note="types bind and tmpfs"),
    Option(("--tmpfs",), _LIST),
    Option(("--read-only",), _FLAG),
    Option(("--env", "-e"), _LIST),
    Option(("--env-file",), _LIST),
    Option(("--env-host",), _FLAG),
    Option(("--unsetenv",), _LIST),
    Option(("--workdir", "-w")),
    Option(("--user", "-u"), note="the number that the caller's own has inside"),
    Option(("--userns",), note="keep-id, host and others: the caller's own is the only user"),
    Option(("--entrypoint",)),
    Option(("--network", "--net"), note="none, or that of this machine"),
    Option(("--hostname", "-h")),
    Option(("--add-host",), _LIST),
    Option(("--dns",), _LIST),
    Option(("--dns-search",), _LIST),
    Option(("--shm-size",)),
    Option(("--device",), _LIST, note="devices that the caller may use; none as another name"),
    Option(("--platform",), note="this machine's only"),
    Option(("--pull",)),
    Option(("--quiet", "-q"), _FLAG),
    Option(("--group-add",), _LIST, note="keep-groups; others are refused"),
    Option(("--cap-drop",), _LIST, note="a container has no capabilities at all"),
    Option(("--sig-proxy",), _FLAG),
    Option(("--http-proxy",), _FLAG),
    Option(("--init",), _FLAG, _IGNORED, "there is an init always"),
    Option(("--memory", "-m"), Kind.VALUE, _IGNORED, _NO_LIMITS),
    Option(("--memory-swap",), Kind.VALUE, _IGNORED, _NO_LIMITS),
    Option(("--memory-reservation",), Kind.VALUE, _IGNORED, _NO_LIMITS),
    Option(("--memory-swappiness",), Kind.VALUE, _IGNORED, _NO_LIMITS),
    Option(("--cpus",), Kind.VALUE, _IGNORED, _NO_LIMITS),
    Option(("--cpu-shares", "-c"), Kind.VALUE, _IGNORED, _NO_LIMITS),
    Option(("--cpu-period",), Kind.VALUE, _IGNORED, _NO_LIMITS),
    Option(("--cpu-quota",), Kind.VALUE, _IGNORED, _NO_LIMITS),
    Option(("--cpuset-cpus",), Kind.VALUE, _IGNORED, _NO_LIMITS),
    Option(("--cpuset-mems",), Kind.VALUE, _IGNORED, _NO_LIMITS),
    Option(("--pids-limit",), Kind.VALUE, _IGNORED, _NO_LIMITS),
    Option(("--blkio-weight",), Kind.VALUE, _IGNORED, _NO_LIMITS),
    Option(("--ulimit",), _LIST, _IGNORED, "limits are the caller's own"),
    Option(("--oom-kill-disable",), _FLAG, _IGNORED),
    Option(("--oom-score-adj",), Kind.VALUE, _IGNORED),
    Option(("--log-driver",), Kind.VALUE, _IGNORED, "only what -d runs has a log"),
    Option(("--log-opt",), _LIST, _IGNORED),
    Option(("--restart",), Kind.VALUE, _IGNORED, "nothing is restarted"),
    Option(("--stop-signal",), note="what stop sends"),
    Option(("--stop-timeout",), note="how long stop waits"),
    Option(("--security-opt",), _LIST, _IGNORED, "a sandbox's are the strictest always"),
    Option(("--cgroupns",), Kind.VALUE, _IGNORED),
    Option(("--cgroups",), Kind.VALUE, _IGNORED),
    Option(("--cgroup-parent",), Kind.VALUE, _IGNORED),
    Option(("--ipc",), Kind.VALUE, _IGNORED, "its own always"),
    Option(("--uts",), Kind.VALUE, _IGNORED, "its own always"),
    Option(("--runtime",), Kind.VALUE, _IGNORED),
    Option(("--annotation",), _LIST, _IGNORED),
    Option(("--systemd",), Kind.VALUE, _IGNORED),
    Option(("--tz",), Kind.VALUE, _IGNORED),
    Option(("--umask",), Kind.VALUE, _IGNORED, "the caller's own"),
    Option(("--health-cmd",), Kind.VALUE, _IGNORED),
    Option(("--no-healthcheck",), _FLAG, _IGNORED),
    Option(("--detach-keys",), Kind.VALUE, _IGNORED),
    Option(("--tls-verify",), _FLAG, _IGNORED, "as registries.conf says"),
    Option(("--authfile",), Kind.VALUE, _IGNORED, "$REGISTRY_AUTH_FILE counts"),
    Option(("--disable-content-trust",), _FLAG, _IGNORED),
    Option(("--image-volume",), Kind.VALUE, _IGNORED),
    Option(("--arch",), Kind.VALUE, _REFUSED, "name it by --platform"),
    Option(("--privileged",), _FLAG, _REFUSED, "a sandbox gives no privileges"),
    Option(("--cap-add",), _LIST, _REFUSED, "a sandbox gives no capabilities"),
    Option(("--gpus",), Kind.VALUE, _REFUSED, "no GPUs are given by this option"),
    Option(("--pid",), Kind.VALUE, _REFUSED, "other processes are out of sight always"),
    Option(("--publish", "-p"), _LIST, _REFUSED, "the network is this machine's or none"),
    Option(("--publish-all", "-P"), _FLAG, _REFUSED, "the network is this machine's or none"),
    Option(("--link",), _LIST, _REFUSED, "the network is this machine's or none"),
    Option(("--ip",), Kind.VALUE, _REFUSED, "the network is this machine's or none"),
    Option(("--volumes-from",), _LIST, _REFUSED, "name the directories by -v"),
    Option(("--volume-driver",), Kind.VALUE, _REFUSED, "volumes are directories"),
    Option(("--pod",), Kind.VALUE, _REFUSED, "there are no pods"),
    Option(("--rootfs",), _FLAG, _REFUSED, "`cwl-udss run DIRECTORY` takes root filesystems"),
)

GLOBAL = (
    Option(("--debug", "-D"), _FLAG),
    Option(("--log-level", "-l")),
    Option(("--version", "-v"), _FLAG),
    Option(("--config",), Kind.VALUE, _IGNORED),
    Option(("--host", "-H"), Kind.VALUE, _IGNORED, "there is no daemon"),
    Option(("--context",), Kind.VALUE, _IGNORED, "there is no daemon"),
    Option(("--connection",), Kind.VALUE, _IGNORED, "there is no daemon"),
    Option(("--url",), Kind.VALUE, _IGNORED, "there is no daemon"),
    Option(("--remote", "-r"), _FLAG, _IGNORED, "there is no daemon"),
    Option(("--tls",), _FLAG, _IGNORED, "there is no daemon"),
    Option(("--root",), Kind.VALUE, _IGNORED, "the store is cwl-udss'"),
    Option(("--runroot",), Kind.VALUE, _IGNORED, "the store is cwl-udss'"),
    Option(("--storage-driver",), Kind.VALUE, _IGNORED, "the store is cwl-udss'"),
    Option(("--storage-opt",), _LIST, _IGNORED, "the store is cwl-udss'"),
    Option(("--cgroup-manager",), Kind.VALUE, _IGNORED),
    Option(("--events-backend",), Kind.VALUE, _IGNORED),
    Option(("--runtime",), Kind.VALUE, _IGNORED),
    Option(("--runtime-flag",), _LIST, _IGNORED),
    Option(("--conmon",), Kind.VALUE, _IGNORED),
    Option(("--tmpdir",), Kind.VALUE, _IGNORED),
    Option(("--noout",), _FLAG, _IGNORED),
)
