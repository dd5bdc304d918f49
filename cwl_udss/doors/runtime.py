# SPDX-License-Identifier: Apache-2.0
"""The runtime of containers, which write over their images where it can have them do so."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.probing.attempts import Facts, Remember
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.settings.opening import runtime_finder
from cwl_udss.settings.settings import Settings

_OVERLAY = "--tmp-overlay"


def find_runtime(settings: Settings, environment: Mapping[str, str]) -> PipedRuntime:
    """Return the runtime that the settings want; what was tried on this node before is not tried
    again. Raises SandboxError if there is none."""
    finder = runtime_finder(settings, environment)
    runtime = finder.find()
    if not isinstance(runtime, Bubblewrap):
        return runtime
    return _with_overlays(runtime, settings, finder.memory.recall)


def forget_runtime(settings: Settings, environment: Mapping[str, str]) -> None:
    """Have all tried again the next time."""
    runtime_finder(settings, environment).forget()


def _with_overlays(runtime: Bubblewrap, settings: Settings, remember: Remember) -> Bubblewrap:
    """A bubblewrap that has a container write over its image, if there is one: the same, or else
    the one that came with cwl-udss, which is newer than most sites'."""
    if _makes_overlays(runtime, settings.store, remember):
        return runtime
    if not settings.bwrap:
        from cwl_udss.runtimes.bubblewrap.probe import bundled_bubblewrap

        with contextlib.suppress(SandboxError):
            bundled = bundled_bubblewrap(remember)
            if _makes_overlays(bundled, settings.store, remember):
                return bundled
    return replace(runtime, options=runtime.options - {_OVERLAY})


def _makes_overlays(runtime: Bubblewrap, store: Path, remember: Remember) -> bool:
    """Whether it can, and the kernel does (since Linux 5.11) over the filesystem of the store:
    found by trying."""
    if _OVERLAY not in runtime.options or not store.is_dir():
        return False
    facts = remember(runtime.path, lambda: _try(runtime.path, store), f"overlays of {store}")
    return bool(facts["works"])


def _try(path: str, store: Path) -> Facts:
    options = ("--unshare-user", "--unshare-pid", "--die-with-parent", "--ro-bind", "/", "/")
    overlay = ("--overlay-src", str(store), _OVERLAY, str(store))
    tried = subprocess.run(
        [path, *options, *overlay, "--", "/bin/true"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        check=False,
    )
    return {"works": tried.returncode == 0}
