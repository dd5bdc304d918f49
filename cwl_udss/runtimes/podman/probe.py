# SPDX-License-Identifier: Apache-2.0
"""Whether podman makes sandboxes on this machine: found by making one and looking what is in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.engines.engine import find_engine
from cwl_udss.runtimes.engines.looking import look_inside
from cwl_udss.runtimes.limits import DEVICES, FEW_INPUTS, PODMAN_LIMITS, ROOT_USER, SITE_MOUNTS
from cwl_udss.runtimes.podman.podman import Podman
from cwl_udss.runtimes.probing.attempts import Facts, Remember, try_always
from cwl_udss.runtimes.probing.refusals import advice_on_namespaces
from cwl_udss.runtimes.probing.trial import ask, check_options, program_on_path

_WHICH_RUNTIME = "--log-level=error info --format {{.Host.OCIRuntime.Name}}"
_REQUIRED_OPTIONS = ("--preserve-fds", "--rootfs", "--shm-size", "--userns")


def find_podman(
    temporary: Callable[[], AbstractContextManager[Path]],
    environment: Mapping[str, str],
    remember: Remember = try_always,
) -> Podman:
    """Return the `podman` on PATH, if it makes a sandbox here.

    `temporary` makes an empty directory of this node, which stays until this process ends. Raises
    SandboxError with the reason if it does not.
    """
    path = program_on_path("podman", environment.get("PATH"))

    def make(place: Path) -> Podman:
        return Podman(path=path, place=place, environment=environment)

    podman = find_engine(make, _try, PODMAN_LIMITS, temporary, remember)
    return replace(podman, keeps_identity=ROOT_USER not in podman.limits)


def _try(podman: Podman) -> Facts:
    path, environment = podman.path, podman.environment
    version = ask(path, "--version", "podman", environment)
    if "podman" not in version:
        raise SandboxError(f"{path} says nothing of podman", "mend PATH")
    help_text = ask(path, "run --help", "podman", environment)
    check_options(f"{path} ({version})", help_text, _REQUIRED_OPTIONS)
    limits = set(PODMAN_LIMITS)
    try:
        inside = look_inside(podman, path, _advice, podman.place)
        limits -= {ROOT_USER, DEVICES}
    except SandboxError:
        # Without further user ids than the caller's there is only root, who is the caller, and to
        # whom /dev belongs.
        without = replace(podman, keeps_identity=False)
        inside = look_inside(without, path, _advice, podman.place)
    if ask(path, _WHICH_RUNTIME, "podman", environment) != "runc":
        limits.remove(FEW_INPUTS)
    if not inside.mounts:
        limits.remove(SITE_MOUNTS)
    return {"version": version, "limits": [limit.name for limit in limits]}


def _advice(said: str) -> str:
    if "namespace" in said or "cannot clone" in said:
        return advice_on_namespaces(said, "podman")
    if "hybrid mode" in said:  # crun's word, which podman prefers to runc
        return (
            "crun does not start where there are both versions of control groups: set "
            '`runtime = "runc"` below [engine] in ~/.config/containers/containers.conf'
        )
    if "cgroup" in said or "runtime" in said:
        return "see whether `podman run` works by hand: containers.conf(5) names its runtime"
    return "see whether `podman run` works by hand"
