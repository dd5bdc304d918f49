# SPDX-License-Identifier: Apache-2.0
"""Whether Charliecloud's ch-run makes sandboxes on this machine: found by making one."""

from __future__ import annotations

import re

from cwl_udss.runtimes.ch_run.ch_run import ChRun, own_environment
from cwl_udss.runtimes.probing.attempts import Facts, Remember, try_always
from cwl_udss.runtimes.probing.refusals import advice_on_namespaces
from cwl_udss.runtimes.probing.trial import ask, check_options, program_on_path, try_runtime
from cwl_udss.runtimes.unshare.probe import find_program

_OPTIONS = ("--uid", "--gid", "--no-passwd")
_VERSION = re.compile(r"\d+\.\d+\S*")


def find_ch_run(search_path: str | None = None, remember: Remember = try_always) -> ChRun:
    """Return the `ch-run` on PATH, if it makes a sandbox here. Raises SandboxError with the reason
    if it does not."""
    path = program_on_path("ch-run", search_path, "install the package charliecloud")
    unshare = find_program(search_path)
    version = remember(path, lambda: _try(path, unshare))["version"]
    return ChRun(path=path, version=version, unshare=unshare)


def _try(path: str, unshare: str) -> Facts:
    help_text = ask(path, "--help", "Charliecloud's", own_environment())
    check_options(path, help_text, _OPTIONS)
    found = _VERSION.search(ask(path, "--version", "Charliecloud's", own_environment()))
    version = found.group() if found else "of an unknown version"
    try_runtime(ChRun(path=path, version=version, unshare=unshare), path, _advice)
    return {"version": version}


def _advice(said: str) -> str:
    return advice_on_namespaces(said, "charliecloud")
