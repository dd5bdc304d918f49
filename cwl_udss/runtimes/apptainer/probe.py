# SPDX-License-Identifier: Apache-2.0
"""Whether Apptainer, or Singularity, makes sandboxes on this machine: found by making one and
looking what is in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.apptainer.apptainer import Apptainer, own_environment
from cwl_udss.runtimes.engines.engine import find_engine
from cwl_udss.runtimes.engines.looking import look_inside
from cwl_udss.runtimes.limits import APPTAINER_LIMITS, SITE_MOUNTS
from cwl_udss.runtimes.probing.attempts import Facts, Remember, try_always
from cwl_udss.runtimes.probing.refusals import advice_on_namespaces
from cwl_udss.runtimes.probing.trial import ask, check_options, program_on_path

_REQUIRED_OPTIONS = (
    *(
        "--cleanenv",
        "--containall",
        "--mount ",
        "--network",
        "--no-home",
        "--no-init",
        "--no-mount",
    ),
    *("--no-privs", "--pwd"),
)
_NAMES = {"pid": "processes", "net": "network", "ipc": "shared memory", "mnt": "mounts"}


def find_apptainer(
    name: str,
    temporary: Callable[[], AbstractContextManager[Path]],
    environment: Mapping[str, str],
    remember: Remember = try_always,
) -> Apptainer:
    """Return the program of this name on PATH, if it makes a sandbox here.

    `temporary` makes an empty directory of this node, which stays until this process ends. Raises
    SandboxError with the reason if it does not.
    """
    advice = "install it, or load the site's module"
    path = program_on_path(name, environment.get("PATH"), advice)

    def make(place: Path) -> Apptainer:
        return Apptainer(path=path, place=place, environment=environment)

    return find_engine(make, _try, APPTAINER_LIMITS, temporary, remember)


def _try(apptainer: Apptainer) -> Facts:
    path, environment = apptainer.path, own_environment(apptainer.environment)
    version = ask(path, "--version", "Apptainer or Singularity", environment)
    if not any(name in version for name in ("apptainer", "singularity")):
        raise SandboxError(f"{path} says nothing of Apptainer or Singularity", "mend PATH")
    help_text = ask(path, "exec --help", "Apptainer or Singularity", environment)
    check_options(f"{path} ({version})", help_text, _REQUIRED_OPTIONS)
    inside = look_inside(apptainer, path, _advice, apptainer.place)
    if inside.shared:
        raise SandboxError(
            f"in the containers of {path} is the host's {_NAMES[inside.shared[0]]}",
            f"ask for `allow {inside.shared[0]} ns = yes` in its configuration",
        )
    absent = set() if inside.mounts else {SITE_MOUNTS}
    return {
        "version": version,
        "limits": [limit.name for limit in APPTAINER_LIMITS if limit not in absent],
    }


def _advice(said: str) -> str:
    if "user namespace" in said or "namespaces" in said:
        return advice_on_namespaces(said, "apptainer") + "; or for a setuid installation"
    return f"is this allowed by its configuration? {_SEE}"


_SEE = "`apptainer config`, apptainer.conf(5)"
