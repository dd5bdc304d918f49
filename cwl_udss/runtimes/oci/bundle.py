# SPDX-License-Identifier: Apache-2.0
"""What crun and runc are told of a sandbox: a config.json, as the Open Container Initiative's
runtime specification has it (config.md, config-linux.md).

The root filesystem is put together before they start, with all that is mounted in it and read-only
where it is to be: their own `ro` does not hold for what a bind brings along, they make mount points
in images as whoever owns these, and know of no links of an opened directory. What is left are the
namespaces, `/proc`, the name of the host, and giving up capabilities.
"""

from __future__ import annotations

import json
from typing import Any

from cwl_udss.sandbox import HOST_NAME

VERSION = "1.0.2"
"""Of the specification: runc 1.1 takes none of a later one's features."""

# By it the container's first process may map root of its user namespace to another user in one of
# the command's own: user_namespaces(7). The command has none.
_CAPABILITIES = ["CAP_SETFCAP"]
_CAPABILITY_SETS = ("bounding", "effective", "permitted")
_NAMESPACES = ("ipc", "mount", "pid", "uts")
_PROC = {
    "destination": "/proc",
    "type": "proc",
    "source": "proc",
    "options": ["nosuid", "nodev", "noexec"],
}


def configuration(
    *, root: str, program: str, network: bool, read_only: tuple[str, ...] = ()
) -> bytes:
    """Return the config.json of a container with the root filesystem `root`, in which all but
    `/proc` is there; `program` is executed in it first. There is the host's network, or none.
    `read_only` are paths of /proc that are to be."""
    namespaces = _NAMESPACES if network else (*_NAMESPACES, "network")
    process: dict[str, Any] = {
        "terminal": False,
        # Of the user namespace around it, where that is who has started all this.
        "user": {"uid": 0, "gid": 0},
        "args": [program],
        "cwd": "/",
        "capabilities": dict.fromkeys(_CAPABILITY_SETS, _CAPABILITIES),
        "noNewPrivileges": True,
    }
    # Bound onto itself: else they would make the devices and links that are there already.
    devices = {"type": "bind", "source": f"{root}/dev", "options": ["rbind", "ro"]}
    content = {
        "ociVersion": VERSION,
        "process": process,
        # So it is already, but crun 1.8 makes writable what it is not told to be read-only.
        "root": {"path": root, "readonly": True},
        "hostname": HOST_NAME,
        "mounts": [_PROC, {"destination": "/dev", **devices}],
        "linux": {
            "namespaces": [{"type": name} for name in namespaces],
            "readonlyPaths": list(read_only),
        },
    }
    return json.dumps(content).encode()
