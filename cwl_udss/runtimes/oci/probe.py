# SPDX-License-Identifier: Apache-2.0
"""Whether crun or runc makes sandboxes on this machine: found by making one; if not, why not."""

from __future__ import annotations

import re

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.oci.oci import CRUN, RUNC, OciRuntime, Program
from cwl_udss.runtimes.probing.attempts import Facts, Remember, try_always
from cwl_udss.runtimes.probing.refusals import advice_on_namespaces
from cwl_udss.runtimes.probing.trial import ask, program_on_path, try_runtime
from cwl_udss.runtimes.unshare.probe import find_program


def find_crun(search_path: str | None = None, remember: Remember = try_always) -> OciRuntime:
    """Return the `crun` on PATH, if it makes a sandbox here. Raises SandboxError with the reason if
    it does not."""
    return _find(CRUN, search_path, remember)


def find_runc(search_path: str | None = None, remember: Remember = try_always) -> OciRuntime:
    """Return the `runc` on PATH, if it makes a sandbox here. Raises SandboxError with the reason if
    it does not."""
    return _find(RUNC, search_path, remember)


def _find(program: Program, search_path: str | None, remember: Remember) -> OciRuntime:
    path = program_on_path(program.name, search_path)
    unshare = find_program(search_path)
    facts = remember(path, lambda: _try(program, path, unshare))
    return OciRuntime(program=program, path=path, version=facts["version"], unshare=unshare)


def _try(program: Program, path: str, unshare: str) -> Facts:
    said = ask(path, "--version", program.name)
    version = re.match(rf"{program.name} version (\S+)", said)
    if version is None:
        raise SandboxError(
            f"{path} --version says nothing of {program.name}", "put the right one first on PATH"
        )
    runtime = OciRuntime(program=program, path=path, version=version.group(1), unshare=unshare)
    try_runtime(runtime, path, lambda message: _advice(program, message))
    return {"version": version.group(1)}


def _advice(program: Program, said: str) -> str:
    if said.startswith(("unshare:", "/proc cannot be mounted")):
        return advice_on_namespaces(said, "util-linux")
    return f"update {program.name}, or put another one first on PATH"
