# SPDX-License-Identifier: Apache-2.0
"""Whether Landlock alone can keep a tool from something on this machine: found by trying."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from cwl_udss.runtimes.landlock.landlock import Landlock
from cwl_udss.runtimes.probing.trial import try_runtime
from cwl_udss.runtimes.proot.landlock import required_landlock


def find_landlock(temporary: Callable[[], AbstractContextManager[Path]]) -> Landlock:
    """Return the kernel's Landlock, if a command starts within it. `temporary` is as of
    find_proot(). Raises SandboxError."""
    abi = required_landlock()
    with contextlib.ExitStack() as stack:
        landlock = Landlock(abi=abi, place=stack.enter_context(temporary()))
        stack.callback(landlock.launchers.close)
        try_runtime(landlock, "Landlock", lambda said: "is it a container's?", landlock.place)
        atexit.register(stack.pop_all().close)
    return landlock
