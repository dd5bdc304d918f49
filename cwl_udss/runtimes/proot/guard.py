# SPDX-License-Identifier: Apache-2.0
"""Who ends a step's processes if the one who is to end them is killed.

PRoot ends all that it traces when its parent dies. Without it there is nobody: orphans go to the
next process above that adopts them (PR_SET_CHILD_SUBREAPER in prctl(2)). That is this one, which
waits for the other, and the other ends all if this one is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from types import FrameType

_SET_CHILD_SUBREAPER, _SET_PARENT_DEATH_SIGNAL = 36, 1  # linux/prctl.h
_SIGNAL_OFFSET = 128
_libc = ctypes.CDLL(None, use_errno=True)


def guarded_child() -> int | None:
    """Go on in a child; return its process id to who is to guard it, None to itself."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(_SIGNAL_OFFSET + signal.SIGKILL)
    return None


def guard(process: int) -> int:
    """Wait for the end of the one that was started; return its exit code. Should it be killed, what
    it has left is killed, too."""

    def end(_number: int, _frame: FrameType | None) -> None:
        os.kill(process, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with contextlib.suppress(ChildProcessError):
        while True:
            kill_children()
            os.waitpid(-1, 0)
    return code if code >= 0 else _SIGNAL_OFFSET - code


def kill_children() -> None:
    """Kill all children of this process."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as stream:
        for number in stream.read().split():
            os.kill(int(number), signal.SIGKILL)
