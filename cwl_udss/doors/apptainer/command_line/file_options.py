# SPDX-License-Identifier: Apache-2.0
"""The options of what makes image files, looks into them, and keeps instances.

The names, and the variables that stand for them, are those of apptainer's cmd/internal/cli
(pull.go, build.go, inspect.go, cache_*.go, instance_*.go).
"""

from __future__ import annotations

from cwl_udss.doors.apptainer.command_line.action_options import ACTION, CACHE, REGISTRY, TEMPORARY
from cwl_udss.doors.apptainer.command_line.option import (
    Kind,
    Treatment,
    flag,
    others,
    several,
    value,
)

_NO_LIBRARY = "images of Singularity's own library cannot be had"
_FORCE = flag("force", "F", "FORCE")
_ARCHITECTURE = (
    value("arch", "", "PULL_ARCH", "BUILD_ARCH"),
    *others(Treatment.REFUSED, Kind.VALUE, "images are made for this machine", "arch-variant"),
)
_LIBRARY = others(Treatment.REFUSED, Kind.VALUE, _NO_LIBRARY, ("library", "", ""))
_NO_CLEANUP = others(Treatment.IGNORED, Kind.FLAG, "nothing half-made is kept", "no-cleanup")

PULL = (
    value("name", "", "PULL_NAME"),
    value("dir", "", "PULLDIR", "PULLFOLDER"),
    _FORCE,
    *_ARCHITECTURE,
    *_LIBRARY,
    *others(
        Treatment.IGNORED,
        Kind.FLAG,
        "signatures are not looked at",
        ("allow-unsigned", "U", "ALLOW_UNSIGNED"),
        ("allow-unauthenticated", "", "ALLOW_UNAUTHENTICATED"),
    ),
    *others(Treatment.REFUSED, Kind.FLAG, "one file is made", ("sandbox", "", "SANDBOX")),
    *CACHE,
    *_NO_CLEANUP,
    *TEMPORARY,
    *REGISTRY,
)

_DEFINITIONS = "of definition files, which are not built here"
BUILD = (
    _FORCE,
    *_ARCHITECTURE,
    *_LIBRARY,
    *others(
        Treatment.IGNORED,
        Kind.FLAG,
        _DEFINITIONS,
        ("fakeroot", "f", "FAKEROOT"),
        ("notest", "T", "NOTEST"),
        ("fix-perms", "", "FIXPERMS"),
        "nv",
        "nvccli",
        "rocm",
        "writable-tmpfs",
        "userns",
        "ignore-subuid",
        "ignore-fakeroot-command",
        "ignore-userns",
        ("warn-unused-build-args", "", ""),
    ),
    *others(Treatment.IGNORED, Kind.VALUE, _DEFINITIONS, "section", ("build-arg-file", "", "")),
    *others(
        Treatment.IGNORED,
        Kind.LIST,
        _DEFINITIONS,
        ("bind", "B", ""),
        "mount",
        ("build-arg", "", ""),
    ),
    *others(
        Treatment.IGNORED,
        Kind.VALUE,
        "SquashFS is written by cwl-udss",
        "mksquashfs-args",
    ),
    *others(Treatment.REFUSED, Kind.FLAG, "one file is made", ("sandbox", "s", "SANDBOX")),
    *others(
        Treatment.REFUSED,
        Kind.FLAG,
        _DEFINITIONS,
        ("update", "u", "UPDATE"),
        "json",
        ("remote", "", ""),
    ),
    *others(
        Treatment.REFUSED,
        Kind.FLAG,
        "images are not encrypted",
        ("encrypt", "e", ""),
        ("passphrase", "", ""),
    ),
    *others(Treatment.REFUSED, Kind.VALUE, "images are not encrypted", ("pem-path", "", "")),
    *CACHE,
    *_NO_CLEANUP,
    *TEMPORARY,
    *REGISTRY,
)

INSPECT = (
    flag("json", "j"),
    flag("all"),
    flag("labels", "l"),
    flag("deffile", "d"),
    flag("runscript", "r"),
    flag("startscript", "s"),
    flag("test", "t"),
    flag("environment", "e"),
    flag("helpfile", "H"),
    flag("list-apps"),
    *others(Treatment.REFUSED, Kind.VALUE, "apps of SCIF are not known", ("app", "", "")),
)

CACHE_LIST = (flag("verbose", "v"), several("type", "T"))
CACHE_CLEAN = (flag("force", "f"), flag("dry-run", "n"), value("days", "D"), several("type", "T"))

_USER = others(Treatment.REFUSED, Kind.VALUE, "only your own are known", ("user", "u", ""))
INSTANCE_START = (*ACTION, value("pid-file", "", "PID_FILE"))
INSTANCE_LIST = (flag("json", "j"), flag("logs", "l"), flag("all", "a"), *_USER)
INSTANCE_STOP = (
    flag("all", "a"),
    flag("force", "F"),
    value("signal", "s", "SIGNAL"),
    value("timeout", "t"),
    *_USER,
)
