# SPDX-License-Identifier: Apache-2.0
"""crun and runc as a person would use them who wants the same namespaces."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.oci.oci import OciRuntime
from cwl_udss.runtimes.oci.probe import find_crun, find_runc

_NAMESPACES = ("ipc", "mount", "network", "pid", "uts")
# Who is root of the user namespace around it needs none of the container's own. For crun both
# versions of control groups are one too many.
_AROUND = ("unshare", "-r", "-m", "-p", "-f", "--mount-proc")
_PREPARED = 'mount --bind "$0" /sys/fs/cgroup && exec "$@"'
_UNIFIED = "/sys/fs/cgroup/unified"


def oci_runtimes() -> dict[str, OciRuntime]:
    """Return those that this machine has, by name."""
    found = {}
    for find in (find_crun, find_runc):
        try:
            runtime = find()
        except SandboxError:
            continue
        found[runtime.program.name] = runtime
    return found


def alone(runtime: OciRuntime, root: Path, binds: dict[str, str], scratch: Path) -> list[str]:
    """Return the command line that runs `true` in a container; `binds` are destinations of
    directories of the host."""
    bundle = scratch / f"{runtime.program.name}-bundle"
    bundle.mkdir()
    (bundle / "config.json").write_text(json.dumps(_config(root, binds)))
    command = [
        *(runtime.path, *runtime.program.options, "--root", str(bundle / "state")),
        *("run", "--bundle", str(bundle), "alone"),
    ]
    if os.path.ismount(_UNIFIED):
        return [*_AROUND, "sh", "-c", _PREPARED, _UNIFIED, *command]
    return [*_AROUND, *command]


def _config(root: Path, binds: dict[str, str]) -> dict[str, object]:
    shared = {"destination": "/dev/shm", "type": "tmpfs", "source": "shm"}
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "dev", "options": ["mode=755"]},
        {**shared, "options": ["mode=1777"]},
        {"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "ro"]},
    ]
    mounts += [
        {"destination": destination, "type": "bind", "source": source, "options": ["rbind"]}
        for destination, source in binds.items()
    ]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/bin:/usr/bin"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": str(root), "readonly": True},
        "mounts": mounts,
        "linux": {"namespaces": [{"type": name} for name in _NAMESPACES]},
    }
