# SPDX-License-Identifier: Apache-2.0
"""The options of what runs a command in an image.

The names, and the variables that stand for them, are those of apptainer's cmd/internal/cli
(action_flags.go).
"""

from __future__ import annotations

from cwl_udss.doors.apptainer.command_line.option import (
    Kind,
    Treatment,
    flag,
    others,
    several,
    value,
)

_ALWAYS_SO = "every sandbox has it so"
_LIMIT = "limits are the batch system's"
_READ_ONLY = "images are never written to: mount a directory where something is to be written"
_NO_CACHE = "the store is not a cache of files; images in it are used where they are"
_GPUS = "a sandbox has no GPU"

GLOBAL = (
    flag("help", "h"),
    flag("version"),
    flag("debug", "d", "DEBUG"),
    flag("quiet", "q", "QUIET"),
    flag("silent", "s", "SILENT"),
    flag("verbose", "v", "VERBOSE"),
    *others(Treatment.IGNORED, Kind.FLAG, "there are no colours", "nocolor"),
    *others(Treatment.IGNORED, Kind.FLAG, "there is no such file here", "build-config"),
    *others(
        Treatment.IGNORED,
        Kind.VALUE,
        "settings are those of cwl-udss",
        ("config", "c", "CONFIG_FILE"),
    ),
)

REGISTRY = (
    *others(
        Treatment.IGNORED,
        Kind.FLAG,
        "which registry speaks http is in registries.conf",
        ("no-https", "", "NOHTTPS", "NO_HTTPS"),
        ("nohttps", "", ""),
    ),
    *others(
        Treatment.REFUSED,
        Kind.FLAG,
        "type `podman login` or `docker login`",
        ("docker-login", "", "DOCKER_LOGIN"),
    ),
    *others(
        Treatment.IGNORED,
        Kind.VALUE,
        "no daemon is asked",
        ("docker-host", "", ""),
    ),
    *others(
        Treatment.REFUSED,
        Kind.VALUE,
        "name it in the variable REGISTRY_AUTH_FILE",
        ("authfile", "", "AUTH_FILE"),
    ),
)
TEMPORARY = others(Treatment.IGNORED, Kind.VALUE, "the store has its own", ("tmpdir", "", ""))
CACHE = others(Treatment.IGNORED, Kind.FLAG, _NO_CACHE, "disable-cache")

ACTION = (
    several("bind", "B", "BIND", "BINDPATH"),
    several("mount", "", "MOUNT"),
    value("home", "H", "HOME"),
    several("scratch", "S", "SCRATCH", "SCRATCHDIR"),
    value("workdir", "W", "WORKDIR"),
    value("cwd", "", "CWD", "TARGET_CWD"),
    value("pwd", "", "PWD", "TARGET_PWD"),
    value("network", "", "NETWORK"),
    flag("net", "n", "NET", "UNSHARE_NET"),
    flag("cleanenv", "e", "CLEANENV"),
    flag("compat", "", "COMPAT"),
    flag("contain", "c", "CONTAIN"),
    flag("containall", "C", "CONTAINALL"),
    flag("no-home", "", "NO_HOME"),
    several("no-mount", "", "NO_MOUNT"),
    several("env"),
    several("env-file", "", "ENV_FILE"),
    *others(
        Treatment.IGNORED,
        Kind.FLAG,
        _ALWAYS_SO,
        ("pid", "p", "PID", "UNSHARE_PID"),
        ("ipc", "i", "IPC", "UNSHARE_IPC"),
        ("uts", "", "UTS", "UNSHARE_UTS"),
        ("userns", "u", "USERNS", "UNSHARE_USERNS"),
        ("no-init", "", "NOSHIMINIT"),
        "no-umask",
        "no-privs",
        "no-eval",
        "unsquash",
        "underlay",
        "ignore-subuid",
        "ignore-userns",
        "ignore-fakeroot-command",
    ),
    flag("fakeroot", "f", "FAKEROOT"),
    flag("writable-tmpfs", "", "WRITABLE_TMPFS"),
    value("hostname", "", "HOSTNAME"),
    *others(
        Treatment.IGNORED,
        Kind.FLAG,
        "every command has a sandbox of its own",
        "no-pid",
        "sharens",
    ),
    *others(Treatment.IGNORED, Kind.FLAG, "there is none to take away", "no-nv", "no-rocm"),
    *others(Treatment.IGNORED, Kind.VALUE, _ALWAYS_SO, "drop-caps"),
    *others(Treatment.IGNORED, Kind.VALUE, "nothing waits for it", "runscript-timeout"),
    *others(Treatment.WARNED, Kind.FLAG, _GPUS, "nv", "nvccli", "rocm", "intel-hpu", "compat32"),
    *others(Treatment.WARNED, Kind.FLAG, _LIMIT, "oom-kill-disable"),
    *others(
        Treatment.WARNED,
        Kind.VALUE,
        _LIMIT,
        "blkio-weight",
        ("blkio-weight-device", "", "BLKIO_WEIGHT_DEVICE"),
        "cpu-shares",
        ("cpus", "", "CPUS"),
        "cpuset-cpus",
        "cpuset-mems",
        "memory",
        "memory-reservation",
        "memory-swap",
        "pids-limit",
    ),
    *others(Treatment.REFUSED, Kind.FLAG, _READ_ONLY, ("writable", "w", "WRITABLE")),
    *others(
        Treatment.REFUSED,
        Kind.LIST,
        _READ_ONLY,
        ("overlay", "o", "OVERLAY", "OVERLAYIMAGE"),
    ),
    *others(
        Treatment.REFUSED,
        Kind.FLAG,
        "a sandbox has no privileges",
        "keep-privs",
        "allow-setuid",
        "boot",
    ),
    *others(
        Treatment.REFUSED,
        Kind.VALUE,
        "a sandbox has no privileges",
        "add-caps",
        "apply-cgroups",
    ),
    *others(
        Treatment.REFUSED,
        Kind.VALUE,
        "a sandbox has the machine's network, or none",
        "netns-path",
        "network-args",
        "dns",
    ),
    *others(Treatment.REFUSED, Kind.LIST, "its one filter is always there", "security"),
    *others(
        Treatment.REFUSED,
        Kind.LIST,
        "mount on the host, and give that with --bind",
        ("fusemount", "", "FUSESPEC"),
    ),
    *others(Treatment.REFUSED, Kind.LIST, _GPUS, ("device", "", ""), ("cdi-dirs", "", "")),
    *others(Treatment.REFUSED, Kind.LIST, "give them with --bind", "containlibs"),
    *others(Treatment.REFUSED, Kind.VALUE, "apps of SCIF are not known", ("app", "", "APP")),
    *others(Treatment.REFUSED, Kind.VALUE, "encrypted images cannot be read", ("pem-path", "", "")),
    *others(
        Treatment.REFUSED, Kind.FLAG, "encrypted images cannot be read", ("passphrase", "", "")
    ),
    *others(
        Treatment.REFUSED,
        Kind.VALUE,
        "nothing is saved of a running command",
        "dmtcp-launch",
        "dmtcp-restart",
    ),
    *CACHE,
    *TEMPORARY,
    *REGISTRY,
)
SHELL = (*ACTION, value("shell", "s", "SHELL"))
