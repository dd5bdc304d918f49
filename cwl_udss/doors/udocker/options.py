# SPDX-License-Identifier: Apache-2.0
"""Every option of udocker's commands: what becomes of it here (udocker's cli.py)."""

from __future__ import annotations

from cwl_udss.doors.apptainer.command_line.option import (
    Kind,
    Option,
    Treatment,
    flag,
    others,
    several,
    value,
)

_ALWAYS_SO = "every sandbox has it so"
_REGISTRIES = "registries and their mirrors are in registries.conf"
_PROXY = "HTTPS_PROXY and NO_PROXY say so"

GLOBAL = (
    flag("help", "h"),
    flag("version", "V"),
    flag("quiet", "q"),
    flag("debug", "D"),
    *others(
        Treatment.IGNORED,
        Kind.FLAG,
        "it makes no difference who runs it, and registries.conf says which are insecure",
        "allow-root",
        "insecure",
    ),
    *others(
        Treatment.IGNORED,
        Kind.VALUE,
        "the store is that of cwl-udss",
        "repo",
        "config",
    ),
)

_SOURCE = (
    *others(Treatment.IGNORED, Kind.VALUE, _REGISTRIES, "index", "registry"),
    *others(Treatment.IGNORED, Kind.VALUE, _PROXY, "httpproxy"),
    *others(Treatment.REFUSED, Kind.VALUE, "images are those for this machine", "platform"),
)
PULL = _SOURCE
CREATE = (value("name"), flag("force"), *_SOURCE)
RUN = (
    flag("rm"),
    value("name"),
    value("workdir", "w"),
    value("user", "u"),
    several("volume", "v"),
    several("env", "e"),
    several("env-file"),
    value("entrypoint"),
    flag("hostenv"),
    flag("bindhome"),
    flag("nometa"),
    value("pull"),
    *others(
        Treatment.IGNORED,
        Kind.FLAG,
        _ALWAYS_SO,
        "nobanner",
        "hostauth",
        ("interactive", "i"),
        ("tty", "t"),
        ("attach", "a"),
    ),
    *others(
        Treatment.WARNED,
        Kind.FLAG,
        "every sandbox has its own /dev, /proc and /sys, and who calls it in /etc/passwd",
        "nosysdirs",
        "containerauth",
        "dri",
    ),
    *others(Treatment.WARNED, Kind.VALUE, "limits are the batch system's", "cpuset-cpus"),
    *others(Treatment.WARNED, Kind.VALUE, "the kernel is this machine's", "kernel"),
    *others(
        Treatment.WARNED,
        Kind.LIST,
        "every sandbox has its own /dev, /proc and /sys",
        "novol",
    ),
    *others(
        Treatment.IGNORED,
        Kind.LIST,
        "the network is the machine's, so that every port is its own",
        ("publish", "p"),
    ),
    *others(
        Treatment.IGNORED,
        Kind.FLAG,
        "the network is the machine's, so that every port is its own",
        ("publish-all", "P"),
        "netcoop",
    ),
    *others(Treatment.REFUSED, Kind.LIST, "a sandbox has no devices of the machine", "device"),
    *others(Treatment.REFUSED, Kind.VALUE, "name the directory in place of an image", "location"),
    *_SOURCE,
)
_ONE_LIST = "there is one list, with all there is to say"
PS = others(Treatment.IGNORED, Kind.FLAG, _ONE_LIST, ("m", "m"), ("s", "s"), ("p", "p"))
REMOVE = others(Treatment.IGNORED, Kind.FLAG, "nothing is protected", ("force", "f"))
IMAGES = others(
    *(Treatment.IGNORED, Kind.FLAG, _ONE_LIST),
    *(("long", "l"), ("platform", "p"), "no-trunc", "all"),
)
LOAD = (value("input", "i"),)
IMPORT = (
    flag("tocontainer"),
    value("name"),
    *others(Treatment.IGNORED, Kind.FLAG, "a container has nothing of its own", "clone"),
    *others(Treatment.REFUSED, Kind.VALUE, "images are those for this machine", "platform"),
)
INSPECT = (flag("path", "p"),)
SETUP = (
    *others(
        Treatment.IGNORED,
        Kind.VALUE,
        "sandboxes are made by what works on this machine: see `cwl-udss doctor`",
        "execmode",
    ),
    *others(Treatment.IGNORED, Kind.FLAG, "there is nothing to be set up", "force", "purge"),
    *others(Treatment.WARNED, Kind.FLAG, "a sandbox has no GPU", "nvidia"),
)
INSTALL = others(
    Treatment.IGNORED, Kind.FLAG, "there is nothing to be installed", "force", "purge", "upgrade"
)
NOTHING: tuple[Option, ...] = ()
