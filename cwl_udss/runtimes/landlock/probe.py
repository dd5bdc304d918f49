# SPDX-License-Identifier: Apache-2.0
"""Whether Landlock alone can keep a tool from something on this machine: found by trying."""

from __future__ import annotations

import atexit
import contextlib
import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.landlock.landlock import Landlock
from cwl_udss.runtimes.proot.landlock import landlock_abi
from cwl_udss.sandbox import Ending, RootFilesystem, Sandbox, Streams

_PROBE_SECONDS = 20.0


def find_landlock(temporary: Callable[[], AbstractContextManager[Path]]) -> Landlock:
    """Return the kernel's Landlock, if a command starts within it. `temporary` is as of
    find_proot(). Raises SandboxError."""
    abi = landlock_abi()
    if not abi:
        raise SandboxError(
            "this kernel has no Landlock",
            "Linux 5.13 and newer have it: ask that `landlock` is in the kernel's lsm=",
        )
    with contextlib.ExitStack() as stack:
        landlock = Landlock(abi=abi, place=stack.enter_context(temporary()))
        stack.callback(landlock.launchers.close)
        _try(landlock)
        atexit.register(stack.pop_all().close)
    return landlock


def _try(landlock: Landlock) -> None:
    """Start a command that is not there, of which the first program tells."""
    with (
        tempfile.TemporaryDirectory(dir=landlock.place) as empty,
        open(os.devnull, "wb") as nothing,
    ):
        sandbox = Sandbox(
            root=RootFilesystem(path=Path(empty)),
            command=("/nothing",),
            environment={},
            working_directory="/",
        )
        streams = Streams(stdout=nothing.fileno(), stderr=nothing.fileno())
        result = landlock.start(sandbox, streams).wait(_PROBE_SECONDS)
    if result.ending is not Ending.NOT_STARTED:
        raise SandboxError("no program can be started within Landlock", f"it is {landlock.place}")
