# SPDX-License-Identifier: Apache-2.0
"""Whether util-linux's unshare makes sandboxes on this machine: found by making one."""

from __future__ import annotations

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.probing.attempts import Facts, Remember, try_always
from cwl_udss.runtimes.probing.refusals import advice_on_namespaces
from cwl_udss.runtimes.probing.trial import ask, program_on_path, try_runtime
from cwl_udss.runtimes.unshare.unshare import Unshare


def find_unshare(search_path: str | None = None, remember: Remember = try_always) -> Unshare:
    """Return the `unshare` on PATH, if it makes a sandbox here. Raises SandboxError with the reason
    if it does not."""
    path = find_program(search_path)
    return Unshare(path=path, version=remember(path, lambda: _try(path))["version"])


def find_program(search_path: str | None = None) -> str:
    """Return the `unshare` on PATH. Raises SandboxError if there is none."""
    return program_on_path("unshare", search_path, "install the package util-linux")


def _try(path: str) -> Facts:
    version = ask(path, "--version", "util-linux's")
    if "util-linux" not in version:
        raise SandboxError(f"{path} is not util-linux's", "put that one first on PATH")
    try_runtime(Unshare(path=path, version=version), path, _advice)
    return {"version": version}


def _advice(said: str) -> str:
    return advice_on_namespaces(said, "util-linux")
