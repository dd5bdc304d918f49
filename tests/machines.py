# SPDX-License-Identifier: Apache-2.0
"""Other machines than this one, made on it for a command, without changing anything of it.

Each is the beginning of a command, whose rest runs there as the same user. In those that are made
by a user namespace setuid programs (fusermount3, newuidmap) have no power, and files of the host's
root show as nobody's.
"""

from __future__ import annotations

import functools
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_USER = ("unshare", "--user", "--map-current-user", "--keep-caps")
_WITHOUT_RIGHTS = 'setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all "$@"'
_LANDLOCK_CALLS = "444,445,446"
_PTRACE_CALL = {"x86_64": "101", "aarch64": "117"}

Machine = tuple[str, ...]


def _without_namespaces() -> Machine:
    # Limits of namespaces are each namespace's own: user_namespaces(7).
    script = f"echo 0 >/proc/sys/user/max_user_namespaces && exec {_WITHOUT_RIGHTS}"
    return (*_USER, "sh", "-c", script, "sh")


def _with_mounts(script: str, *namespaces: str) -> Machine:
    """Where something is mounted by a script."""
    whole = f"{script} && exec {_WITHOUT_RIGHTS}"
    return (*_USER, "--mount", *namespaces, "sh", "-c", whole, "sh")


def _refusing(error: str, calls: str) -> Machine:
    return (sys.executable, str(_HERE / "refusing.py"), error, calls)


def with_landlock(abi: int) -> Machine:
    """Where the kernel has an older Landlock: 1 (Linux 5.13), 2 (5.19), 3 (6.2), 6 (6.12)."""
    place = _HERE / "older_landlock"
    return ("env", f"PYTHONPATH={place}", f"CWL_UDSS_TESTS_LANDLOCK={abi}")


_INSIDE_PODMAN = r"""
made=$(mktemp -d /var/tmp/cwl-udss-tests.XXXXXX) || exit
mkdir "$made/run" "$made/root" && cd "$made/root" || exit
mkdir dev etc home proc root run sys tmp usr && ln -s usr/bin usr/sbin usr/lib usr/lib64 .
export XDG_RUNTIME_DIR="$made/run"
podman() { command podman --root="$made/store" --runroot="$made/run" --log-level=error "$@"; }
podman --runtime=runc --cgroup-manager=cgroupfs run --rm --network=host --userns=keep-id \
    --no-hosts --env-host --workdir="$OLDPWD" -v /usr:/usr:ro -v /etc/passwd:/etc/passwd:ro \
    -v /etc/alternatives:/etc/alternatives:ro -v /tmp:/tmp -v "$HOME:$HOME" \
    -v "${TMPDIR:-/tmp}:${TMPDIR:-/tmp}" \
    -v SOURCES:SOURCES -v PYTHON:PYTHON --rootfs "$made/root" "$@"
code=$?
podman unshare rm -rf "$made/root" "$made/store"
kill "$(cat "$made/run/libpod/tmp/pause.pid" 2>/dev/null)" 2>/dev/null
rm -rf "$made"
exit $code
"""


def _inside_podman() -> Machine:
    """In a container with the host's programs, whose /proc is hidden in parts. Its root is in none
    of the places that are shown in it, where its /proc would be seen a second time, as a whole."""
    script = _INSIDE_PODMAN.replace("SOURCES", str(_HERE.parent)).replace("PYTHON", sys.prefix)
    return ("sh", "-c", script, "sh")


MACHINES: Mapping[str, Callable[[], Machine]] = {
    "this machine": lambda: (),
    "no user namespaces": _without_namespaces,
    "no Landlock": lambda: _refusing("ENOSYS", _LANDLOCK_CALLS),
    **{f"Landlock {abi}": functools.partial(with_landlock, abi) for abi in (1, 2, 3, 6)},
    "no ptrace": lambda: _refusing("EPERM", _PTRACE_CALL[platform.machine()]),
    "no user namespaces, no ptrace": lambda: (
        *_without_namespaces(),
        *_refusing("EPERM", _PTRACE_CALL[platform.machine()]),
    ),
    "/tmp noexec": lambda: _with_mounts("mount -t tmpfs -o noexec,nosuid,nodev none /tmp"),
    "no /dev/fuse": lambda: _with_mounts(
        "mount -t tmpfs none /mnt && touch /mnt/none && chmod 0 /mnt/none && "
        "mount --bind /mnt/none /dev/fuse && umount /mnt"
    ),
    "cgroup v2 only": lambda: _with_mounts(
        "! [ -d /sys/fs/cgroup/unified ] || mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup"
    ),
    "no subuids": lambda: _with_mounts(
        "for f in subuid subgid; do mount --bind /dev/null /etc/$f || exit; done"
    ),
    "/proc hidepid": lambda: _with_mounts(
        "mount -t proc -o hidepid=invisible proc /proc", "--pid", "--fork", "--kill-child"
    ),
    "inside podman": _inside_podman,
}
"""By what they lack."""


@functools.cache
def is_possible(machine: Machine) -> bool:
    """Say whether it can be made here."""
    try:
        done = subprocess.run([*machine, "true"], check=False, capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def machine(name: str) -> Machine:
    """Return a machine for a test, which is skipped where that cannot be made."""
    made = MACHINES[name]()
    if made and not is_possible(made):
        pytest.skip("such a machine cannot be made here")
    return made


def without_namespaces() -> Machine:
    """Return the one that most tests want."""
    return machine("no user namespaces")
