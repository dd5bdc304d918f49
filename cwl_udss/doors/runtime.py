# SPDX-License-Identifier: Apache-2.0
"""The runtime of containers, which write over their images where it can have them do so."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import replace
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.choosing.choice import RuntimeFinder
from cwl_udss.runtimes.probing.attempts import Facts, Remember
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.settings.settings import Settings

# Options of bwrap, which are kept if what they stand for works.
OVER_STORE = "--tmp-overlay"
"""A container can write over directories of the store."""
OVER_MOUNTS = "--overlay-src"
"""It can write over SquashFS files that are mounted, whatever filesystem they are in themselves."""
_LOCAL = Path("/usr")


def find_runtime(finder: RuntimeFinder, settings: Settings) -> PipedRuntime:
    """Return the runtime that the settings want; what was tried on this node before is not tried
    again. Raises SandboxError if there is none."""
    runtime = finder.find()
    if not isinstance(runtime, Bubblewrap):
        return runtime
    return _with_overlays(runtime, settings, finder.memory.recall)


def _with_overlays(runtime: Bubblewrap, settings: Settings, remember: Remember) -> Bubblewrap:
    """A bubblewrap that has a container write over its image, if there is one: the same, or else
    the one that came with cwl-udss, which is newer than most sites'. A store on Lustre, say, can be
    no part of an overlay, but what is mounted from it can."""
    if _makes_overlays(runtime, settings.store, remember):
        return runtime
    found = [runtime]
    if not settings.bwrap:
        from cwl_udss.runtimes.bubblewrap.probe import bundled_bubblewrap

        with contextlib.suppress(SandboxError):
            found.append(bundled_bubblewrap(remember))
    for lower, lost in ((settings.store, set()), (_LOCAL, {OVER_STORE})):
        for one in found:
            if _makes_overlays(one, lower, remember):
                return replace(one, options=one.options - lost)
    return replace(runtime, options=runtime.options - {OVER_STORE, OVER_MOUNTS})


def _makes_overlays(runtime: Bubblewrap, lower: Path, remember: Remember) -> bool:
    """Whether it can, and the kernel does (since Linux 5.11) over that filesystem: found by
    trying."""
    if OVER_STORE not in runtime.options or not lower.is_dir():
        return False
    facts = remember(runtime.path, lambda: _try(runtime.path, lower), f"overlays of {lower}")
    return bool(facts["works"])


def _try(path: str, lower: Path) -> Facts:
    options = ("--unshare-user", "--unshare-pid", "--die-with-parent", "--ro-bind", "/", "/")
    overlay = (OVER_MOUNTS, str(lower), OVER_STORE, str(lower))
    tried = subprocess.run(
        [path, *options, *overlay, "--", "/bin/true"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        check=False,
    )
    return {"works": tried.returncode == 0}
