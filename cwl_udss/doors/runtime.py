# SPDX-License-Identifier: Apache-2.0
"""The runtime of containers: what was found once on this node is remembered until it starts anew.

To try a runtime takes as long as to start a container with it, and some callers start a thousand.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from cwl_udss.errors import SandboxError, StoreError
from cwl_udss.files.scratch import node_directory
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.choice import AnyRuntime, RuntimeFinder
from cwl_udss.settings.settings import Settings

_OVERLAY = "--tmp-overlay"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def find_runtime(settings: Settings, environment: Mapping[str, str]) -> AnyRuntime:
    """Return the runtime that the settings want, if need be by looking for it. Raises SandboxError
    if there is none."""
    wanted = [
        *(_BOOT.read_text().strip(), settings.runtime, settings.bwrap, str(settings.store)),
        shutil.which("bwrap", path=environment.get("PATH")),
    ]
    memory = _memory(settings)
    known = _remembered(memory, wanted)
    if known is not None:
        return known
    finder = RuntimeFinder(
        wanted=settings.runtime,
        accepted=settings.accept,
        bwrap=settings.bwrap,
        scratch=settings.scratch,
        environment=environment,
    )
    runtime = finder.find()
    if isinstance(runtime, Bubblewrap):
        runtime = _with_overlays(runtime, settings)
        if settings.store.is_dir():  # else nothing could be tried over it
            _remember(memory, wanted, runtime)
    return runtime


def forget_runtime(settings: Settings) -> None:
    """Have the runtime looked for the next time."""
    with contextlib.suppress(OSError, StoreError):
        _memory(settings).unlink()


def _memory(settings: Settings) -> Path:
    """The file that remembers it."""
    return node_directory(settings.scratch, {}) / "runtime.json"


def _remembered(memory: Path, wanted: list[str | None]) -> Bubblewrap | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(memory.read_bytes())
        if found["wanted"] == wanted and found["program"] == _stamp(found["path"]):
            return Bubblewrap(
                path=found["path"], version=found["version"], options=frozenset(found["options"])
            )
    return None


def _remember(memory: Path, wanted: list[str | None], runtime: Bubblewrap) -> None:
    facts = asdict(runtime) | {
        "options": sorted(runtime.options),
        "wanted": wanted,
        "program": _stamp(runtime.path),
    }
    made = memory.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):  # a full disk, say: it is looked for again
        made.write_text(json.dumps(facts))
        made.replace(memory)


def _stamp(path: str) -> list[int]:
    found = os.stat(path)
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]


def _with_overlays(runtime: Bubblewrap, settings: Settings) -> Bubblewrap:
    """A bubblewrap that has a container write over its image, if there is one: the same, or else
    the one that came with cwl-udss, which is newer than most sites'."""
    if _makes_overlays(runtime, settings.store):
        return runtime
    if not settings.bwrap:
        from cwl_udss.runtimes.bubblewrap.probe import bundled_bubblewrap

        with contextlib.suppress(SandboxError, StoreError):
            bundled = bundled_bubblewrap()
            if _makes_overlays(bundled, settings.store):
                return bundled
    return replace(runtime, options=runtime.options - {_OVERLAY})


def _makes_overlays(runtime: Bubblewrap, store: Path) -> bool:
    """Whether it can, and the kernel does (since Linux 5.11) over the filesystem of the store:
    found by trying."""
    if _OVERLAY not in runtime.options or not store.is_dir():
        return False
    options = ("--unshare-user", "--unshare-pid", "--die-with-parent", "--ro-bind", "/", "/")
    overlay = ("--overlay-src", str(store), _OVERLAY, str(store))
    tried = subprocess.run(
        [runtime.path, *options, *overlay, "--", "/bin/true"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        check=False,
    )
    return tried.returncode == 0
